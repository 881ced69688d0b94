#pragma once

#include <chrono>
#include <cstdint>

#include "gpu/stream.hpp"
#include "messages/error.hpp"

namespace baton::test {

/// How a kernel ruins the CUDA context of its process.
enum class gpu_poison : std::uint8_t {
  trap,            ///< stops itself
  illegal_address, ///< writes where nothing is
};

/// Launches a kernel of one thread that waits a while and then ruins the context: from then on
/// nothing works in it. Returns at once.
///
/// @param delay at most ten seconds.
/// @returns `gpu_failed` if it cannot be launched, or without CUDA.
[[nodiscard]] expected<> launch_poison(gpu_poison how, std::chrono::milliseconds delay, int device,
                                       gpu_stream_ref stream);

} // namespace baton::test
