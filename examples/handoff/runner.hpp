#pragma once

#include <string>

#include "examples/handoff/report.hpp"
#include "examples/handoff/scenario.hpp"
#include "messages/error.hpp"

namespace baton::handoff {

/// What a run needs besides the scenario.
struct run_settings {
  std::string scenario_text; ///< handed to the rank processes as it is
  std::string dump;          ///< directory for `dump_rank`, created if missing; empty for none
  std::string tcp_devices;   ///< see `plane_options`
  std::string ucx_transports;
  /// Each rank process sees its own GPU only, as number 0: the usual case in deployments. Else all
  /// see all.
  bool isolate_gpus = false;
  bool progress = false;
};

/// Runs a scenario: starts all ranks, hands the requests over, does what the faults say, and checks
/// every byte. All waits are bounded, and no process is left behind. Call from the main thread.
///
/// @returns the result, good or bad; an error when the ranks could not be started or the run was
///          interrupted by SIGINT or SIGTERM; `gpu_failed` when a GPU is not to be had.
[[nodiscard]] expected<run_result> run_scenario(const scenario& run, const run_settings& settings);

} // namespace baton::handoff
