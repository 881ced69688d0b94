#pragma once

#include "examples/soak/figures.hpp"

namespace baton::soak {

/// Runs a soak: two halves, of which one keeps the context side and one the generation side. Each
/// begins without faults, which tells what the ranks that stay cost without a peer, and goes on in
/// rounds: instances of the other side join, requests and faults run for a while, all is brought to
/// its end, the others go, and those that stay are compared with what they cost before.
///
/// Call from the main thread. No process is left behind.
///
/// @throws std::runtime_error when it is interrupted or a process cannot be started.
[[nodiscard]] figures run_soak(const settings& how);

} // namespace baton::soak
