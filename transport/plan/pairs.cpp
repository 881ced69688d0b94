#include "transport/plan/pairs.hpp"

#include <algorithm>
#include <tuple>

namespace baton {

namespace {

/// One source's share of one (layer, role, section).
struct holder {
  std::uint32_t layer = 0;
  cache_role role = cache_role::key;
  std::uint32_t section = 0;
  std::uint32_t rank = 0;
  std::uint32_t group = 0;
  std::uint32_t buffer = 0;
  std::uint32_t first_head = 0;
  std::uint32_t end_head = 0;
};

/// A maximal range of heads that the same sources hold.
struct segment {
  std::uint32_t first_head = 0;
  std::uint32_t end_head = 0;
  std::vector<const holder*> holders; ///< by rank
};

using part_key = std::tuple<std::uint32_t, cache_role, std::uint32_t>;

part_key buffer_key(const auto& buffer) {
  return {buffer.layer, buffer.role, buffer.section};
}

/// The sources of one dp group, by (layer, role, section) and head.
class source_index {
public:
  source_index(std::span<const rank_layout> ranks, std::uint32_t dp) {
    for (const auto& rank : ranks)
      if (rank.dp_rank() == dp)
        add(rank);
    std::ranges::sort(holders_, {}, [](const holder& item) {
      return std::tuple{buffer_key(item), item.rank};
    });
    for (auto first = holders_.begin(); first != holders_.end();) {
      const auto last = std::find_if(first, holders_.end(), [&](const holder& item) {
        return buffer_key(item) != buffer_key(*first);
      });
      entries_.push_back({buffer_key(*first), split({first, last})});
      first = last;
    }
  }

  /// Returns the segments of one (layer, role, section), ascending; empty if nobody holds it.
  [[nodiscard]] std::span<const segment> find(const buffer_layout& buffer) const {
    const auto found = std::ranges::lower_bound(entries_, buffer_key(buffer), {}, &entry::key);
    if (found == entries_.end() || found->key != buffer_key(buffer))
      return {};
    return found->segments;
  }

private:
  struct entry {
    part_key key;
    std::vector<segment> segments;
  };

  void add(const rank_layout& rank) {
    for (std::uint32_t group = 0; group < rank.groups.size(); ++group) {
      const auto& buffers = rank.groups[group].buffers;
      for (std::uint32_t index = 0; index < buffers.size(); ++index) {
        const auto& buffer = buffers[index];
        holders_.push_back({buffer.layer, buffer.role, buffer.section, rank.rank, group, index,
                            buffer.first_head, buffer.first_head + buffer.head_count});
      }
    }
  }

  static std::vector<segment> split(std::span<const holder> holders) {
    std::vector<std::uint32_t> cuts;
    for (const auto& item : holders)
      cuts.insert(cuts.end(), {item.first_head, item.end_head});
    std::ranges::sort(cuts);
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());

    std::vector<segment> segments;
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i)
      segments.push_back({cuts[i], cuts[i + 1], {}});
    for (const auto& item : holders) {
      auto part = std::ranges::lower_bound(segments, item.first_head, {}, &segment::first_head);
      for (; part != segments.end() && part->end_head <= item.end_head; ++part)
        part->holders.push_back(&item);
    }
    return segments;
  }

  std::vector<holder> holders_;
  std::vector<entry> entries_;
};

/// Collects the pairs of one receiver.
class receiver {
public:
  receiver(const source_index& sources, const rank_layout& destination)
      : sources_{sources}, destination_{destination} {}

  expected<std::vector<rank_pair>> pairs() && {
    for (std::uint32_t group = 0; group < destination_.groups.size(); ++group)
      if (auto ok = add_group(group); !ok)
        return fail(std::move(ok.error()));
    std::ranges::sort(pairs_, {}, &rank_pair::source);
    return std::move(pairs_);
  }

private:
  /// Layers are numbered within their group: groups often take every n-th layer, and
  /// the layers of each must spread over all holders.
  expected<> add_group(std::uint32_t group) {
    const auto& buffers = destination_.groups[group].buffers;
    std::uint32_t layer_index = 0;
    for (std::uint32_t index = 0; index < buffers.size(); ++index) {
      if (index > 0 && buffers[index].layer != buffers[index - 1].layer)
        ++layer_index;
      if (auto ok = add_buffer(group, index, layer_index); !ok)
        return ok;
    }
    return {};
  }

  expected<> add_buffer(std::uint32_t group, std::uint32_t index, std::uint32_t layer_index) {
    const auto& buffer = destination_.groups[group].buffers[index];
    const auto end = buffer.first_head + buffer.head_count;
    const auto segments = sources_.find(buffer);
    auto part = std::ranges::upper_bound(segments, buffer.first_head, {}, &segment::end_head);
    for (auto head = buffer.first_head; head < end; ++part) {
      if (part == segments.end() || part->first_head > head || part->holders.empty())
        return fail(errc::incompatible_layout,
                    "no context rank of the dp group holds head {} of layer {} {} (section {}), "
                    "which generation rank {} needs",
                    head, buffer.layer, to_string(buffer.role), buffer.section, destination_.rank);
      const auto next = std::min(end, part->end_head);
      const auto choice = (layer_index + destination_.tp_rank()) % part->holders.size();
      const auto& from = *part->holders[choice];
      add(from.rank, {from.group, from.buffer, group, index, head, next - head});
      head = next;
    }
    return {};
  }

  void add(std::uint32_t source, const head_part& part) {
    auto& parts = parts_of(source);
    if (!parts.empty()) {
      auto& last = parts.back();
      if (last.destination_group == part.destination_group &&
          last.destination_buffer == part.destination_buffer &&
          last.first_head + last.head_count == part.first_head) {
        last.head_count += part.head_count;
        return;
      }
    }
    parts.push_back(part);
  }

  std::vector<head_part>& parts_of(std::uint32_t source) {
    if (source >= slot_of_.size())
      slot_of_.resize(source + 1, none);
    if (slot_of_[source] == none) {
      slot_of_[source] = pairs_.size();
      pairs_.push_back({source, destination_.rank, {}});
    }
    return pairs_[slot_of_[source]].parts;
  }

  static constexpr auto none = static_cast<std::size_t>(-1);

  const source_index& sources_;
  const rank_layout& destination_;
  std::vector<rank_pair> pairs_;
  std::vector<std::size_t> slot_of_; ///< by source: its index in `pairs_`
};

expected<> check_dp(std::span<const rank_layout> instance, std::uint32_t dp,
                    std::string_view side) {
  if (instance.empty())
    return fail(errc::invalid_argument, "the {} instance has no ranks", side);
  if (dp >= instance.front().dp_size())
    return fail(errc::invalid_argument,
                "{} dp rank {} is out of range: the instance has {} group{}", side, dp,
                instance.front().dp_size(), instance.front().dp_size() == 1 ? "" : "s");
  return {};
}

std::vector<std::uint32_t> ranks_of(std::span<const rank_layout> instance, std::uint32_t dp) {
  std::vector<std::uint32_t> ranks;
  for (const auto& rank : instance)
    if (rank.dp_rank() == dp)
      ranks.push_back(rank.rank);
  return ranks;
}

/// Calls `take` for each context rank of `sources` that is not in `used` (sorted), and the rank
/// that tells it so.
template <class Take>
void for_each_idle(std::span<const std::uint32_t> sources, std::span<const std::uint32_t> used,
                   std::span<const std::uint32_t> tellers, Take take) {
  for (const auto source : sources)
    if (!std::ranges::binary_search(used, source))
      take(source, tellers[source % tellers.size()]);
}

/// Calls `take` with each generation rank that `wanted` picks and its pairs, in rank order.
template <class Wanted, class Take>
expected<> for_each_receiver(std::span<const rank_layout> context, std::uint32_t context_dp,
                             std::span<const rank_layout> generation, Wanted wanted, Take take) {
  const source_index sources{context, context_dp};
  for (const auto& rank : generation) {
    if (!wanted(rank))
      continue;
    auto pairs = receiver{sources, rank}.pairs();
    if (!pairs)
      return fail(std::move(pairs.error()));
    take(rank, std::move(*pairs));
  }
  return {};
}

std::pair<std::uint32_t, std::uint32_t> table_key(const rank_pair& pair) {
  return {pair.destination, pair.source};
}

} // namespace

const rank_pair* pair_table::find(std::uint32_t source, std::uint32_t destination) const noexcept {
  const std::pair key{destination, source};
  const auto found = std::ranges::lower_bound(pairs, key, {}, table_key);
  return found != pairs.end() && table_key(*found) == key ? &*found : nullptr;
}

std::vector<std::uint32_t> pair_table::sources_of(std::uint32_t destination) const {
  std::vector<std::uint32_t> sources;
  for (const auto& pair : std::ranges::equal_range(pairs, destination, {}, &rank_pair::destination))
    sources.push_back(pair.source);
  return sources;
}

std::vector<std::uint32_t> pair_table::receivers_of(std::uint32_t source) const {
  std::vector<std::uint32_t> receivers;
  for (auto at = pairs.begin(); at != pairs.end();) {
    const std::pair wanted{at->destination, source};
    at = std::ranges::lower_bound(at, pairs.end(), wanted, {}, table_key);
    if (at == pairs.end())
      break;
    if (table_key(*at) == wanted)
      receivers.push_back(at->destination);
    if (at->destination == wanted.first)
      at = std::ranges::upper_bound(at, pairs.end(), wanted.first, {}, &rank_pair::destination);
  }
  return receivers;
}

expected<pair_table> make_pairs(std::span<const rank_layout> context, std::uint32_t context_dp,
                                std::span<const rank_layout> generation,
                                std::uint32_t generation_dp) {
  if (auto ok = check_dp(context, context_dp, "context"); !ok)
    return fail(std::move(ok.error()));
  if (auto ok = check_dp(generation, generation_dp, "generation"); !ok)
    return fail(std::move(ok.error()));
  pair_table table;
  std::vector<std::uint32_t> used;
  auto done = for_each_receiver(
      context, context_dp, generation,
      [&](const rank_layout& rank) { return rank.dp_rank() == generation_dp; },
      [&](const rank_layout&, std::vector<rank_pair> pairs) {
        for (auto& pair : pairs) {
          used.push_back(pair.source);
          table.pairs.push_back(std::move(pair));
        }
      });
  if (!done)
    return fail(std::move(done.error()));
  std::ranges::sort(used);
  for_each_idle(ranks_of(context, context_dp), used, ranks_of(generation, generation_dp),
                [&](std::uint32_t source, std::uint32_t teller) {
                  table.idle.push_back({source, teller});
                });
  return table;
}

expected<receiver_row> make_receiver_row(std::span<const rank_layout> context,
                                         std::uint32_t context_dp,
                                         std::span<const rank_layout> generation,
                                         const rank_layout& destination) {
  if (auto ok = check_dp(context, context_dp, "context"); !ok)
    return fail(std::move(ok.error()));
  const auto dp = destination.dp_rank();
  receiver_row row;
  std::vector<std::uint32_t> used; // once for each receiver
  auto done = for_each_receiver(
      context, context_dp, generation,
      [&](const rank_layout& rank) { return rank.dp_rank() == dp; },
      [&](const rank_layout& rank, std::vector<rank_pair> pairs) {
        for (auto& pair : pairs) {
          used.push_back(pair.source);
          if (rank.rank == destination.rank)
            row.sources.push_back({std::move(pair), 0});
        }
      });
  if (!done)
    return fail(std::move(done.error()));
  std::ranges::sort(used);
  for (auto& source : row.sources)
    source.receivers =
        static_cast<std::uint32_t>(std::ranges::equal_range(used, source.pair.source).size());
  for_each_idle(ranks_of(context, context_dp), used, ranks_of(generation, dp),
                [&](std::uint32_t source, std::uint32_t teller) {
                  if (teller == destination.rank)
                    row.idle.push_back(source);
                });
  return row;
}

expected<std::vector<rank_pair>> make_source_row(std::span<const rank_layout> context,
                                                 const rank_layout& source,
                                                 std::span<const rank_layout> generation) {
  std::vector<rank_pair> row;
  auto done = for_each_receiver(
      context, source.dp_rank(), generation, [](const rank_layout&) { return true; },
      [&](const rank_layout&, std::vector<rank_pair> pairs) {
        for (auto& pair : pairs)
          if (pair.source == source.rank)
            row.push_back(std::move(pair));
      });
  if (!done)
    return fail(std::move(done.error()));
  return row;
}

} // namespace baton
