#pragma once

#include <cstdint>

#include "gpu/cuda/copy_args.hpp"
#include "gpu/cuda/shape_storage.hpp"

namespace baton {

/// How a launch is spread over the GPU.
struct launch_size {
  std::uint32_t blocks = 1;
  std::uint32_t batch = 1;
};

/// The items of `pairs` pairs of which stream bytes [begin, end) are wanted. Pure.
///
/// @param list all of a shape's tiles, or some.
/// @param stream where the first pair starts; begin lies in the first pair, end in the last one.
/// @returns a segment of which `end` is the number of its items; pointers are left empty.
[[nodiscard]] copy_segment cut_segment(const tile_list& list, std::uint64_t pairs,
                                       std::uint64_t stream, std::uint64_t shape_bytes,
                                       std::uint64_t begin, std::uint64_t end) noexcept;

/// Chooses how many blocks share so many items, and how many a warp takes at a time. Pure.
///
/// @param longest bytes of the longest item.
[[nodiscard]] launch_size size_launch(std::uint64_t items, std::uint64_t bytes,
                                      std::uint32_t longest, std::uint32_t most_blocks,
                                      std::uint32_t warps_per_block) noexcept;

} // namespace baton
