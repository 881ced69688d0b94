#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "messages/layout.hpp"
#include "messages/wire.hpp"

namespace baton {

/// Returns the table of a group, or null.
[[nodiscard]] inline const group_blocks* find_table(const std::vector<group_blocks>& tables,
                                                    std::string_view group) noexcept {
  const auto found = std::ranges::find(tables, group, &group_blocks::group);
  return found == tables.end() ? nullptr : &*found;
}

/// Returns where the tails of a table's further beams begin, as a `group_range` says it.
[[nodiscard]] inline std::vector<std::uint32_t> tails_of(const group_blocks& table) {
  std::vector<std::uint32_t> tokens;
  for (const auto& tail : table.tails)
    tokens.push_back(tail.first_block_token);
  return tokens;
}

/// Returns how many slots every buffer of a group of this rank has: block ids are below it.
[[nodiscard]] inline std::uint64_t slots_of(const rank_layout& layout,
                                            const group_layout& group) noexcept {
  auto slots = layout_limits::slots;
  for (const auto& buffer : group.buffers)
    slots = std::min(slots, layout.pools[buffer.pool].slots);
  return slots;
}

} // namespace baton
