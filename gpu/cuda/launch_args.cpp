#include "gpu/cuda/launch_args.hpp"

#include <algorithm>

#include "gpu/cuda/tuning.hpp"

namespace baton {

copy_segment cut_segment(const tile_list& list, std::uint64_t pairs, std::uint64_t stream,
                         std::uint64_t shape_bytes, std::uint64_t begin,
                         std::uint64_t end) noexcept {
  const auto& positions = list.positions;
  const auto first = std::ranges::upper_bound(list.ends, begin - stream) - list.ends.begin();
  const std::uint64_t last_start = stream + (pairs - 1) * shape_bytes;
  const auto last = std::ranges::lower_bound(positions, end - last_start) - positions.begin();
  copy_segment made;
  made.stream = stream;
  made.shape_bytes = shape_bytes;
  made.tile_count = list.size();
  made.first = static_cast<std::uint32_t>(first);
  made.end = static_cast<std::uint32_t>((pairs - 1) * positions.size()) +
             static_cast<std::uint32_t>(last) - made.first;
  return made;
}

launch_size size_launch(std::uint64_t items, std::uint64_t bytes, std::uint32_t longest,
                        std::uint32_t most_blocks, std::uint32_t warps_per_block) noexcept {
  launch_size size;
  size.blocks = static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(bytes / tuning::bytes_per_block, 1, most_blocks));
  const std::uint32_t most = std::clamp(tuning::batch_bytes / longest, 1u, 32u);
  const std::uint64_t rounds = std::uint64_t{8} * size.blocks * warps_per_block;
  size.batch = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(items / rounds, 1, most));
  return size;
}

} // namespace baton
