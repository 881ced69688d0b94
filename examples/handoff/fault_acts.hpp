#pragma once

#include "examples/handoff/run_state.hpp"

namespace baton::handoff {

/// Does what the faults say to the ranks that have parked for them, once their time has come; lets
/// ranks go on that have rested long enough, replaces those that are restarted, and mends the
/// network.
void act_on_faults(run_state& state);

/// Whether nothing is left to be done to a rank that has parked, rests or returns, or to the
/// network.
[[nodiscard]] bool faults_settled(const run_state& state);

} // namespace baton::handoff
