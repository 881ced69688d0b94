#pragma once

#include <chrono>

#include "examples/handoff/run_state.hpp"

namespace baton::handoff {

/// The longest that `pump` waits.
inline constexpr std::chrono::milliseconds pump_tick{10};

/// Takes what the ranks say into the state, and waits a tick for it at most.
void pump(run_state& state);

/// Pumps until `done()` holds.
///
/// @returns whether it does, within `limit`.
template <class Done>
[[nodiscard]] bool await(run_state& state, std::chrono::milliseconds limit, Done done) {
  const auto deadline = run_clock::now() + limit;
  while (!done()) {
    if (run_clock::now() >= deadline)
      return false;
    pump(state);
  }
  return true;
}

} // namespace baton::handoff
