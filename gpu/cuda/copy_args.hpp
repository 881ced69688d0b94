#pragma once

#include <cstdint>

#include "gpu/copy_shape.hpp"

namespace baton {

/// Which items of one part a launch moves. An item is one tile of one pair; items are numbered pair
/// by pair.
struct copy_segment {
  const copy_tile* tiles = nullptr; ///< device memory
  const copy_pair* pairs = nullptr; ///< device memory; null: they are `copy_args::few`
  std::uint64_t stream = 0;         ///< where pair 0 starts in the plan's stream
  std::uint64_t shape_bytes = 0;    ///< of one pair in the stream
  std::uint32_t tile_count = 0;     ///< per pair
  std::uint32_t first = 0;          ///< the first item's tile in pair 0
  std::uint32_t end = 0;            ///< items of this and of all earlier segments of the launch
  std::uint32_t few = 0;            ///< where its pairs start in `copy_args::few`
};

/// How warps share the items of a launch. Zero before a launch, and again after it.
struct copy_counter {
  std::uint32_t taken = 0; ///< items handed out beyond the first batch of each warp
  std::uint32_t blocks_done = 0;
};

/// All that a copy kernel knows; passed by value. Kernels touch no host memory but that which they
/// copy: many warps that read one address there get a million answers a second, all together.
struct copy_args {
  static constexpr std::uint32_t most_segments = 8;
  /// Pairs that fit in here need no upload, which would double the time of a small job.
  static constexpr std::uint32_t most_few = 256;

  copy_segment segments[most_segments];
  copy_pair few[most_few];
  std::uint64_t begin = 0; ///< the window of the plan's stream that moves: items are cut to it
  std::uint64_t end = 0;
  std::byte* buffer = nullptr;          ///< holds [begin, end) for gather and scatter
  copy_counter* counter = nullptr;      ///< device memory
  const std::uint64_t* abort = nullptr; ///< device memory: holds the launch that has to stop
  std::uint64_t launch = 0;             ///< number of this one, not 0
  std::uint32_t items = 0;
  std::uint32_t batch = 1; ///< items that a warp takes at a time, 1 to 32
  copy_way way = copy_way::pool_to_pool;
};
static_assert(sizeof(copy_args) <= 4096, "what every driver takes as arguments of a kernel");

} // namespace baton
