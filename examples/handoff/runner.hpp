#pragma once

#include "examples/handoff/report.hpp"
#include "examples/handoff/run_settings.hpp"
#include "examples/handoff/scenario.hpp"
#include "messages/error.hpp"

namespace baton::handoff {

/// Runs a scenario: starts all ranks, hands the requests over, does what the faults say, and checks
/// every byte. All waits are bounded, and no process is left behind. Call from the main thread.
///
/// @returns the result, good or bad; an error when the ranks could not be started or the run was
///          interrupted by SIGINT or SIGTERM; `gpu_failed` when a GPU is not to be had.
[[nodiscard]] expected<run_result> run_scenario(const scenario& run, const run_settings& settings);

} // namespace baton::handoff
