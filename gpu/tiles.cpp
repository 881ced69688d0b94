#include <algorithm>

#include "gpu/copy_shape.hpp"

namespace baton {

static_assert(copy_tile_bytes % 4 == 0, "a tile must not end within an element");

std::vector<copy_tile> cut_tiles(std::span<const copy_run> runs, std::span<const copy_lane> lanes,
                                 type_pair converted) {
  const bool copied = converted.from == converted.to;
  std::vector<copy_tile> tiles;
  tiles.reserve(copied ? runs.size() : 0);
  std::uint64_t position = 0;
  for (const copy_run& run : runs) {
    const copy_lane& lane = lanes[run.lane];
    const bool wanted =
        copied ? !lane.as.needed() : type_pair{lane.as.from, lane.as.to} == converted;
    for (std::uint64_t done = 0; wanted && done < run.bytes; done += copy_tile_bytes) {
      copy_tile tile;
      tile.source = reinterpret_cast<std::uint64_t>(lane.source) + run.source + done;
      tile.destination = reinterpret_cast<std::uint64_t>(lane.destination) + run.destination +
                         lane.as.written(done);
      tile.source_stride = lane.source_stride;
      tile.destination_stride = lane.destination_stride;
      tile.position = position + done;
      tile.bytes =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(copy_tile_bytes, run.bytes - done));
      if (copied)
        tile.run_bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(run.bytes, ~0u));
      else
        tile.factor = lane.as.factor;
      tiles.push_back(tile);
    }
    position += run.bytes;
  }
  return tiles;
}

} // namespace baton
