#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "examples/handoff/scenario.hpp"
#include "messages/error.hpp"
#include "messages/layout.hpp"
#include "messages/wire.hpp"

namespace baton::handoff {

/// The block tables of one request on one rank, one per group of the rank, in its order.
using request_tables = std::vector<group_blocks>;

/// Draws the blocks of all requests on one rank: random by the scenario's seed, no block twice over
/// the whole run. A windowed table leaves out a random number of the leading blocks that lie wholly
/// before the window. A table of state has one block.
///
/// @returns one entry per request of the scenario, empty for those that the rank has no part in.
/// @pre `check_blocks` succeeded.
[[nodiscard]] std::vector<request_tables> draw_blocks(const scenario& run,
                                                      const rank_layout& layout);

/// Checks that every rank has blocks enough for its requests.
///
/// @returns `invalid_argument`; the text names the field and how many are needed.
[[nodiscard]] expected<> check_blocks(const scenario& run, instance_role side,
                                      std::span<const rank_layout> ranks);

/// Returns the part of a table that holds `tokens`; without blocks if they were all left out. Of
/// state (0 tokens per block), the whole table.
[[nodiscard]] group_blocks part_of(const group_blocks& table, std::uint32_t tokens_per_block,
                                   token_range tokens);

} // namespace baton::handoff
