#pragma once

#include "examples/handoff/run_state.hpp"
#include "messages/error.hpp"

namespace baton::handoff {

/// Starts a process for every rank, and waits until all are ready.
///
/// @returns `gpu_failed` when a GPU is not to be had, `timed_out`, `cancelled` for an interruption,
///          `peer_lost` with what the ranks said.
[[nodiscard]] expected<> start_ranks(run_state& state);

/// Starts a new process in the place of a rank whose process has ended, and has it offer what
/// nobody has asked for yet. It is ready when its `life` is `running` again; what goes wrong goes
/// to the state.
void replace_rank(run_state& state, rank_run& rank);

/// Has all ranks that are alive check and dump their pools, and waits until they have ended. What
/// is wrong goes to the state.
void finish_ranks(run_state& state);

} // namespace baton::handoff
