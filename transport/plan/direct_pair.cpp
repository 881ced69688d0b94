#include "transport/plan/direct_pair.hpp"

#include <algorithm>
#include <map>
#include <tuple>

namespace baton {

namespace {

/// Where a rank has a (layer, role, section).
struct buffer_place {
  std::uint32_t group = 0;
  std::uint32_t buffer = 0;
};

using buffer_places = std::map<std::tuple<std::uint32_t, cache_role, std::uint32_t>, buffer_place>;

buffer_places places_in(const rank_layout& rank) {
  buffer_places places;
  for (std::uint32_t group = 0; group < rank.groups.size(); ++group) {
    const auto& buffers = rank.groups[group].buffers;
    for (std::uint32_t index = 0; index < buffers.size(); ++index) {
      const auto& buffer = buffers[index];
      places[{buffer.layer, buffer.role, buffer.section}] = {group, index};
    }
  }
  return places;
}

} // namespace

expected<rank_pair> make_direct_pair(const rank_layout& source, const rank_layout& destination) {
  if (auto ok = compatible(source, destination); !ok)
    return fail(std::move(ok).error());
  const auto places = places_in(source);
  rank_pair pair{source.rank, destination.rank, {}};
  for (std::uint32_t group = 0; group < destination.groups.size(); ++group) {
    const auto& buffers = destination.groups[group].buffers;
    for (std::uint32_t index = 0; index < buffers.size(); ++index) {
      const auto& to = buffers[index];
      const auto place = places.find({to.layer, to.role, to.section});
      if (place == places.end())
        continue;
      const auto [from_group, from_index] = place->second;
      const auto& from = source.groups[from_group].buffers[from_index];
      const auto begin = std::max(from.first_head, to.first_head);
      const auto end = std::min(from.first_head + from.head_count, to.first_head + to.head_count);
      if (begin < end)
        pair.parts.push_back({from_group, from_index, group, index, begin, end - begin});
    }
  }
  return pair;
}

} // namespace baton
