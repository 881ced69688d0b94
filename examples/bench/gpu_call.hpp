#pragma once

#include <chrono>
#include <stdexcept>

#include <fmt/format.h>

#include "examples/bench/gpu_kernels.hpp"
#include "gpu/event.hpp"

namespace baton::bench {

/// Nothing that the bench asks of a GPU takes nearly as long.
inline constexpr std::chrono::seconds gpu_limit{20};

/// @throws std::runtime_error if there is a problem.
inline void require(kernels::problem found) {
  if (found != nullptr)
    throw std::runtime_error{fmt::format("a GPU call of the bench failed: {}", found)};
}

/// Waits for an event without giving up the core, as short times are to be measured.
///
/// @throws std::runtime_error if it does not come in time, or work before it failed.
void spin_until(const gpu_event& event);

} // namespace baton::bench
