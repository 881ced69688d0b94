#include "examples/handoff/blocks.hpp"

#include <algorithm>
#include <random>
#include <unordered_map>

#include "examples/handoff/pattern.hpp"

namespace baton::handoff {

namespace {

std::uint64_t blocks_of(std::uint32_t tokens, std::uint32_t tokens_per_block) noexcept {
  return (std::uint64_t{tokens} + tokens_per_block - 1) / tokens_per_block;
}

/// Hands out the numbers below `count` in random order: a Fisher-Yates shuffle that is made as far
/// as it is used.
class block_lottery {
public:
  block_lottery(std::uint64_t count, std::uint64_t seed) : left_{count}, random_{seed} {}

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  std::uint32_t draw() {
    const auto place = below(left_);
    --left_;
    const auto drawn = at(place);
    moved_[place] = at(left_);
    return static_cast<std::uint32_t>(drawn);
  }

private:
  std::uint64_t at(std::uint64_t place) const {
    const auto found = moved_.find(place);
    return found == moved_.end() ? place : found->second;
  }

  std::uint64_t left_;
  std::mt19937_64 random_;
  std::unordered_map<std::uint64_t, std::uint64_t> moved_;
};

std::uint64_t lottery_seed(std::uint64_t seed, const rank_layout& layout, std::size_t group) {
  auto hash = splitmix64(seed ^ static_cast<std::uint64_t>(layout.role));
  hash = splitmix64(hash ^ layout.rank);
  return splitmix64(hash ^ group);
}

group_blocks draw_table(const group_layout& group, std::uint32_t tokens, block_lottery& lottery) {
  group_blocks table;
  table.group = group.name;
  if (group.is_state()) {
    table.blocks = {lottery.draw()};
    return table;
  }
  std::uint64_t first = 0;
  if (group.window != 0 && tokens > group.window)
    first = lottery.below((tokens - group.window) / group.tokens_per_block + 1);
  table.first_block_token = static_cast<std::uint32_t>(first * group.tokens_per_block);
  for (auto block = first; block < blocks_of(tokens, group.tokens_per_block); ++block)
    table.blocks.push_back(lottery.draw());
  return table;
}

} // namespace

std::vector<request_tables> draw_blocks(const scenario& run, const rank_layout& layout) {
  const auto& side = run.sides[layout.role];
  std::vector<request_tables> tables(run.requests.size());
  for (std::size_t group = 0; group < layout.groups.size(); ++group) {
    block_lottery lottery{side.blocks, lottery_seed(run.seed, layout, group)};
    for (std::size_t i = 0; i < run.requests.size(); ++i)
      if (takes_part(side, layout.rank, i))
        tables[i].push_back(draw_table(layout.groups[group], run.requests[i].tokens, lottery));
  }
  return tables;
}

expected<> check_blocks(const scenario& run, instance_role side,
                        std::span<const rank_layout> ranks) {
  const auto& spec = run.sides[side];
  for (const auto& layout : ranks) {
    const bool only_state = std::ranges::all_of(layout.groups, &group_layout::is_state);
    std::uint64_t needed = 0;
    for (std::size_t i = 0; i < run.requests.size(); ++i)
      if (takes_part(spec, layout.rank, i))
        needed += only_state ? 1 : blocks_of(run.requests[i].tokens, spec.tokens_per_block);
    if (needed > spec.blocks)
      return fail(errc::invalid_argument,
                  "{}.blocks: {} are too few, rank {} needs {} for its requests; raise it",
                  to_string(side), spec.blocks, layout.rank, needed);
  }
  return {};
}

group_blocks part_of(const group_blocks& table, std::uint32_t tokens_per_block,
                     token_range tokens) {
  if (tokens_per_block == 0)
    return table;
  const auto block_at = [&](std::uint32_t token) {
    return token <= table.first_block_token ? 0
                                            : (token - table.first_block_token) / tokens_per_block;
  };
  const auto first = block_at(tokens.begin);
  const auto last = tokens.end <= table.first_block_token ? 0 : block_at(tokens.end - 1) + 1;
  group_blocks part;
  part.group = table.group;
  part.first_block_token = table.first_block_token + first * tokens_per_block;
  for (auto block = first; block < last; ++block)
    part.blocks.push_back(table.blocks[block]);
  return part;
}

} // namespace baton::handoff
