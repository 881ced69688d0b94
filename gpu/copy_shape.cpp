#include "gpu/copy_shape.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>

#include "gpu/cuda/make_shape.hpp"
#include "gpu/cuda/tuning.hpp"

namespace baton {
namespace {

expected<> check_runs(copy_way way, std::span<const copy_run> runs,
                      std::span<const copy_lane> lanes) {
  if (runs.empty())
    return fail(errc::invalid_argument, "a copy shape needs at least one run");
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    if (lanes[i].source == nullptr && way != copy_way::stream_to_pool)
      return fail(errc::invalid_argument, "lanes[{}].source has no address", i);
    if (lanes[i].destination == nullptr && way != copy_way::pool_to_stream)
      return fail(errc::invalid_argument, "lanes[{}].destination has no address", i);
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].bytes == 0)
      return fail(errc::invalid_argument, "runs[{}].bytes is 0", i);
    if (runs[i].lane >= lanes.size())
      return fail(errc::invalid_argument, "runs[{}].lane is {}, but there are {} lanes", i,
                  runs[i].lane, lanes.size());
    const auto& as = lanes[runs[i].lane].as;
    if (as.needed() && runs[i].bytes % size_of(as.from) != 0)
      return fail(errc::invalid_argument, "runs[{}].bytes is {}, not whole elements of {}", i,
                  runs[i].bytes, to_string(as.from));
  }
  return {};
}

expected<> check_conversions(copy_way way, std::span<const copy_lane> lanes) {
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    const auto& as = lanes[i].as;
    if (as.needed() && way == copy_way::pool_to_stream)
      return fail(errc::invalid_argument, "lanes[{}] converts, which a gather cannot", i);
    if (!can_hand_over(as.from, as.to))
      return fail(errc::invalid_argument, "lanes[{}]: {}, not to {}", i,
                  describe_conversions(as.from), to_string(as.to));
  }
  return {};
}

bool fits_bulk(const copy_tile& tile, std::uint32_t least) {
  const auto bits =
      tile.source | tile.destination | tile.source_stride | tile.destination_stride | tile.bytes;
  return bits % 16 == 0 && tile.run_bytes >= least;
}

std::uint64_t bytes_of(std::span<const copy_run> runs) {
  std::uint64_t sum = 0;
  for (const copy_run& run : runs)
    sum += run.bytes;
  return sum;
}

tile_list list(std::span<const copy_tile> tiles, const copy_tile* uploaded) {
  tile_list made;
  made.tiles = uploaded;
  made.positions.reserve(tiles.size());
  made.ends.reserve(tiles.size());
  for (const copy_tile& tile : tiles) {
    made.positions.push_back(tile.position);
    made.ends.push_back(tile.position + tile.bytes);
    made.longest = std::max(made.longest, tile.bytes);
    made.bytes += tile.bytes;
  }
  return made;
}

expected<> upload(std::byte* to, std::span<const copy_tile> tiles, cudaStream_t stream) {
  if (auto done = check(
          cudaMemcpyAsync(to, tiles.data(), tiles.size_bytes(), cudaMemcpyHostToDevice, stream),
          "cudaMemcpyAsync of a copy shape");
      !done)
    return done;
  return finish({stream}, std::chrono::seconds{10});
}

} // namespace

expected<std::shared_ptr<const copy_shape>> make_shape(const shape_maker& maker, copy_way way,
                                                       std::span<const copy_run> runs,
                                                       std::span<const copy_lane> lanes) {
  if (auto good = check_conversions(way, lanes); !good)
    return fail(good.error());
  if (auto good = check_runs(way, runs, lanes); !good)
    return fail(good.error());
  auto tiles = cut_tiles(runs, lanes);
  const std::size_t count = tiles.size();
  std::array<std::size_t, conversions.size() + 1> ends{count};
  for (std::size_t i = 0; i < conversions.size(); ++i) {
    const auto more = cut_tiles(runs, lanes, conversions[i]);
    tiles.insert(tiles.end(), more.begin(), more.end());
    ends[i + 1] = tiles.size();
  }
  const std::size_t total = tiles.size();
  if (total > most_tiles)
    return fail(errc::out_of_resources, "a copy shape of {} tiles; at most {} are possible", total,
                most_tiles);

  // The subsets for a pull follow the whole list, if there are two of them.
  std::size_t bulk = 0;
  if (way == copy_way::pool_to_pool && maker.bulk_least != no_bulk) {
    const auto fits = [&](const copy_tile& tile) { return fits_bulk(tile, maker.bulk_least); };
    const auto whole = std::span{tiles}.first(count);
    bulk = static_cast<std::size_t>(std::ranges::count_if(whole, fits));
    if (bulk != 0 && bulk != count) {
      tiles.resize(total + count);
      const auto half = tiles.begin() + static_cast<std::ptrdiff_t>(total);
      std::copy_n(tiles.begin(), count, half);
      std::stable_partition(half, tiles.end(), fits);
    }
  }
  auto memory = maker.arena->take(tiles.size() * sizeof(copy_tile));
  if (!memory)
    return fail(memory.error());
  if (auto done = upload(memory->data(), tiles, maker.stream); !done)
    return fail(done.error());

  auto made = std::make_shared<copy_shape::storage>();
  const auto* uploaded = reinterpret_cast<const copy_tile*>(memory->data());
  const auto part = [&, all = std::span{tiles}](std::size_t first, std::size_t size) {
    return list(all.subspan(first, size), uploaded + first);
  };
  made->engine = maker.engine;
  made->memory = std::move(*memory);
  made->tiles = total;
  made->all = part(0, count);
  for (std::size_t i = 0; i < conversions.size(); ++i)
    made->converted[i] = part(ends[i], ends[i + 1] - ends[i]);
  if (bulk == count) {
    made->bulk = made->all;
  } else if (bulk != 0) {
    made->bulk = part(total, bulk);
    made->rest = part(total + bulk, count - bulk);
  } else {
    made->rest = made->all;
  }
  return std::make_shared<const copy_shape>(way, bytes_of(runs), std::move(made));
}

} // namespace baton
