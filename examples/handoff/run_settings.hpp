#pragma once

#include <string>

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
  /// The ranks of each instance agree on what their status calls return.
  bool agree = false;
  /// Ranks check and rewrite the blocks of a request as soon as it has ended, and at their end
  /// compare what they hold of the system with what they held before the first fault's request.
  bool reuse = false;
  bool progress = false;
};

} // namespace baton::handoff
