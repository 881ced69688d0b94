#include "actors/block_offer.hpp"

#include <algorithm>

#include "actors/block_checks.hpp"

namespace baton {
namespace {

expected<> check_timeout(std::string_view what, std::chrono::milliseconds timeout) {
  if (timeout <= std::chrono::milliseconds{0} || timeout > wire_limits::remaining)
    return fail(errc::invalid_argument, "{}: timeout of {} ms; 1 to {} are possible", what,
                timeout.count(), std::chrono::milliseconds{wire_limits::remaining}.count());
  return {};
}

expected<> check_block_table(std::string_view what, const rank_layout& layout,
                             const group_blocks& table) {
  const auto index = layout.find_group(table.group);
  if (!index)
    return fail(errc::invalid_argument, "{}: group '{}' is none of this rank's", what, table.group);
  const auto& group = layout.groups[*index];
  if (!table.tails.empty())
    return fail(errc::invalid_argument, "{}: blocks of group '{}' have beams; offer each by itself",
                what, table.group);
  if (group.is_state() && (table.blocks.size() != 1 || table.first_block_token != 0))
    return fail(errc::invalid_argument,
                "{}: {} blocks of group '{}' from token {} on; its state is in one, from 0 on",
                what, table.blocks.size(), table.group, table.first_block_token);
  return check_blocks(layout, group, what, {}, table.first_block_token, table.blocks);
}

expected<> check_tables_once(std::string_view what, const rank_layout& layout,
                             const std::vector<group_blocks>& tables) {
  if (tables.empty())
    return fail(errc::invalid_argument, "{}: no blocks are given", what);
  std::size_t blocks = 0;
  for (const auto& table : tables) {
    if (auto ok = check_block_table(what, layout, table); !ok)
      return ok;
    blocks += table.blocks.size();
    if (std::ranges::count(tables, table.group, &group_blocks::group) != 1)
      return fail(errc::invalid_argument, "{}: group '{}' is given twice", what, table.group);
  }
  if (blocks > wire_limits::blocks)
    return fail(errc::invalid_argument, "{}: {} blocks exceed {}; give fewer at once", what, blocks,
                wire_limits::blocks);
  return {};
}

expected<> check_offered(std::string_view what, const group_layout& group, const group_range& range,
                         const group_blocks& table) {
  const auto end = std::min<std::uint64_t>(
      wire_limits::tokens, table.first_block_token + std::uint64_t{table.blocks.size()} *
                                                         std::max(group.tokens_per_block, 1u));
  if (range.tokens.empty() || range.tokens.begin < table.first_block_token ||
      range.tokens.end > end)
    return fail(errc::invalid_argument,
                "{}: tokens [{}, {}) of group '{}', whose blocks hold [{}, {})", what,
                range.tokens.begin, range.tokens.end, range.group, table.first_block_token, end);
  if (group.is_state() && range.layers != layer_range{})
    return fail(errc::invalid_argument, "{}: layers {} of group '{}', whose state is offered whole",
                what, to_string(range.layers), range.group);
  if (range.layers.empty() || !group.has_any(range.layers))
    return fail(errc::invalid_argument, "{}: layers {} of group '{}', which has none of them", what,
                to_string(range.layers), range.group);
  return {};
}

} // namespace

expected<> check(const rank_layout& layout, const block_offer& offer) {
  constexpr auto what = "offer of blocks";
  if (auto ok = check_timeout(what, offer.timeout); !ok)
    return ok;
  if (auto ok = check_tables_once(what, layout, offer.blocks); !ok)
    return ok;
  if (offer.ranges.size() != offer.blocks.size())
    return fail(errc::invalid_argument, "{}: {} ranges for {} tables", what, offer.ranges.size(),
                offer.blocks.size());
  for (std::size_t i = 0; i < offer.ranges.size(); ++i) {
    const auto& range = offer.ranges[i];
    const auto& table = offer.blocks[i];
    if (range.group != table.group || !range.tails.empty())
      return fail(errc::invalid_argument, "{}: ranges[{}] names group '{}'{}, blocks[{}] '{}'",
                  what, i, range.group, range.tails.empty() ? "" : " with tails", i, table.group);
    if (auto ok = check_offered(what, layout.groups[*layout.find_group(range.group)], range, table);
        !ok)
      return ok;
  }
  return {};
}

expected<> check(const rank_layout& layout, const block_pull& pull) {
  constexpr auto what = "pull of blocks";
  if (auto ok = check_timeout(what, pull.timeout); !ok)
    return ok;
  return check_tables_once(what, layout, pull.blocks);
}

} // namespace baton
