#include <algorithm>

#include "gpu/copy_shape.hpp"

namespace baton {

std::vector<copy_tile> cut_tiles(std::span<const copy_run> runs, std::span<const copy_lane> lanes) {
  std::vector<copy_tile> tiles;
  tiles.reserve(runs.size());
  std::uint64_t position = 0;
  for (const copy_run& run : runs) {
    const copy_lane& lane = lanes[run.lane];
    for (std::uint64_t done = 0; done < run.bytes; done += copy_tile_bytes) {
      copy_tile tile;
      tile.source = reinterpret_cast<std::uint64_t>(lane.source) + run.source + done;
      tile.destination = reinterpret_cast<std::uint64_t>(lane.destination) + run.destination + done;
      tile.source_stride = lane.source_stride;
      tile.destination_stride = lane.destination_stride;
      tile.position = position + done;
      tile.bytes =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(copy_tile_bytes, run.bytes - done));
      tile.run_bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(run.bytes, ~0u));
      tiles.push_back(tile);
    }
    position += run.bytes;
  }
  return tiles;
}

} // namespace baton
