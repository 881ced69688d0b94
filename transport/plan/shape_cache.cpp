#include "transport/plan/shape_cache.hpp"

#include <utility>

namespace baton {

shape_cache::shape_cache(copy_way way, std::vector<const std::byte*> sources,
                         std::vector<std::byte*> destinations)
    : way_{way}, sources_{std::move(sources)}, destinations_{std::move(destinations)} {
}

expected<std::shared_ptr<const copy_shape>>
shape_cache::get(copy_engine& engine, const std::shared_ptr<const run_template>& from) {
  if (const auto known = shapes_.find(from.get()); known != shapes_.end())
    return known->second.shape;
  std::vector<copy_lane> lanes;
  for (const auto& lane : from->lanes)
    lanes.push_back({sources_.empty() ? nullptr : sources_[lane.source_pool],
                     destinations_.empty() ? nullptr : destinations_[lane.destination_pool],
                     lane.source_stride, lane.destination_stride,
                     destinations_.empty() ? element_conversion{} : lane.as});
  std::vector<copy_run> runs;
  runs.reserve(from->runs.size());
  for (const auto& run : from->runs)
    runs.push_back({run.source, run.destination, run.bytes, run.lane});
  auto made = engine.make_shape(way_, runs, lanes);
  if (!made)
    return made;
  const auto tiles = from->runs.size() + from->bytes / copy_tile_bytes;
  if (tiles_ + tiles > most_tiles) {
    shapes_.clear();
    tiles_ = 0;
  }
  tiles_ += tiles;
  shapes_[from.get()] = {from, *made};
  return made;
}

expected<std::shared_ptr<const copy_plan>>
shape_cache::plan_for(copy_engine& engine, const plan& what, std::shared_ptr<const void> owner) {
  std::vector<copy_part> parts;
  parts.reserve(what.parts.size());
  for (const auto& part : what.parts) {
    auto shape = get(engine, part.shape);
    if (!shape)
      return fail(std::move(shape.error()));
    parts.push_back({std::move(*shape), part.pairs});
  }
  return std::make_shared<const copy_plan>(std::move(parts), std::move(owner));
}

} // namespace baton
