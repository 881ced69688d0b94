#pragma once

#include "examples/handoff/report.hpp"
#include "examples/handoff/run_state.hpp"

namespace baton::handoff {

/// Compares what the ranks reported with what the scenario expects. Takes the outcomes and the
/// problems out of the state.
[[nodiscard]] run_result judge(run_state& state);

} // namespace baton::handoff
