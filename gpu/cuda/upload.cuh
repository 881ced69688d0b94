#pragma once

#include <cstdint>

namespace baton::device {

/// Copies `count` words, each thread several at a time, so that one trip to the host's memory
/// brings many.
template <std::uint32_t flights>
__device__ void upload(const uint2* from, uint2* to, std::uint64_t count) {
  const std::uint64_t threads = std::uint64_t{gridDim.x} * blockDim.x;
  std::uint64_t first = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; first < count; first += flights * threads) {
    uint2 value[flights];
#pragma unroll
    for (std::uint32_t i = 0; i < flights; ++i)
      if (first + i * threads < count)
        value[i] = __ldcv(from + first + i * threads);
#pragma unroll
    for (std::uint32_t i = 0; i < flights; ++i)
      if (first + i * threads < count)
        to[first + i * threads] = value[i];
  }
}

} // namespace baton::device
