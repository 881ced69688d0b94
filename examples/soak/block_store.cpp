#include "examples/soak/block_store.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "examples/handoff/pattern.hpp"

namespace baton::soak {

namespace {

/// Calls `visit(pattern, token, row)` for every row of a request's tokens that has a block.
template <class Visit>
void each_row(const group_layout& group, const std::vector<std::span<std::byte>>& pools,
              std::uint64_t seed, request_id request, const group_blocks& table, token_range tokens,
              Visit visit) {
  for (const auto& buffer : group.buffers)
    for (std::uint32_t i = 0; i < buffer.head_count; ++i) {
      const handoff::head_pattern pattern{
          seed, request, buffer.layer, buffer.role, buffer.first_head + i, size_of(buffer.type)};
      for (auto token = std::max(tokens.begin, table.first_block_token); token < tokens.end;
           ++token) {
        const auto place = token - table.first_block_token;
        const auto offset =
            buffer.offset + table.blocks[place / group.tokens_per_block] * buffer.slot_stride +
            i * buffer.head_stride + place % group.tokens_per_block * buffer.token_stride;
        visit(pattern, token, pools[buffer.pool].subspan(offset, buffer.row_bytes()));
      }
    }
}

} // namespace

block_store::block_store(const rank_layout& layout, std::vector<std::span<std::byte>> pools,
                         std::uint64_t seed)
    : layout_{layout}, pools_{std::move(pools)}, seed_{seed} {
  for (std::size_t g = 0; g < layout_.groups.size(); ++g) {
    const auto& buffers = layout_.groups[g].buffers;
    const auto slots = static_cast<std::uint32_t>(layout_.pools[buffers.front().pool].slots);
    auto& made = groups_.emplace_back();
    made.poison.resize(slots);
    made.free.resize(slots);
    std::iota(made.free.begin(), made.free.end(), 0u);
    for (std::uint32_t block = 0; block < slots; ++block)
      poison(g, block);
  }
}

std::optional<taken_blocks> block_store::take(std::uint32_t tokens, chance& draw) {
  taken_blocks taken;
  auto& tables = taken.tables;
  for (const auto& group : layout_.groups) {
    const auto blocks = (tokens + group.tokens_per_block - 1) / group.tokens_per_block;
    std::uint32_t first = 0;
    if (group.window != 0 && tokens > group.window)
      first = draw.below((tokens - group.window) / group.tokens_per_block + 1);
    tables.push_back({group.name,
                      first * group.tokens_per_block,
                      std::vector<std::uint32_t>(blocks - first),
                      {}});
  }
  for (std::size_t g = 0; g < tables.size(); ++g)
    if (groups_[g].free.size() < tables[g].blocks.size())
      return std::nullopt;
  for (std::size_t g = 0; g < tables.size(); ++g) {
    auto& free = groups_[g].free;
    auto& blocks = tables[g].blocks;
    std::copy(free.rbegin(), free.rbegin() + static_cast<std::ptrdiff_t>(blocks.size()),
              blocks.begin());
    free.resize(free.size() - blocks.size());
    for (std::size_t i = blocks.size(); i > 1; --i)
      std::swap(blocks[i - 1], blocks[draw.below(i)]);
    for (const auto block : blocks)
      taken.touched += touched(g, block);
  }
  return taken;
}

void block_store::write(request_id request, const block_tables& tables, token_range tokens) {
  for (std::size_t g = 0; g < tables.size(); ++g)
    each_row(layout_.groups[g], pools_, seed_, request, tables[g], tokens,
             [](const handoff::head_pattern& pattern, std::uint32_t token,
                std::span<std::byte> row) { pattern.fill(token, row); });
}

std::uint64_t block_store::mismatched(request_id request, const block_tables& tables,
                                      std::uint32_t tokens, std::uint32_t cached) const {
  std::uint64_t wrong = 0;
  for (std::size_t g = 0; g < tables.size(); ++g) {
    const auto& group = layout_.groups[g];
    const auto window = group.window != 0 && tokens > group.window ? tokens - group.window : 0;
    each_row(group, pools_, seed_, request, tables[g], {std::max(cached, window), tokens},
             [&](const handoff::head_pattern& pattern, std::uint32_t token,
                 std::span<const std::byte> row) { wrong += pattern.mismatches(token, row); });
  }
  return wrong;
}

std::uint64_t block_store::touched_cached(const block_tables& tables, std::uint32_t cached) const {
  std::uint64_t count = 0;
  for (std::size_t g = 0; g < tables.size(); ++g) {
    auto end = tables[g].first_block_token;
    for (const auto block : tables[g].blocks) {
      end += layout_.groups[g].tokens_per_block;
      if (end <= cached)
        count += touched(g, block);
    }
  }
  return count;
}

void block_store::rewrite(const block_tables& tables) {
  for (std::size_t g = 0; g < tables.size(); ++g)
    for (const auto block : tables[g].blocks)
      poison(g, block);
}

void block_store::release(const block_tables& tables) {
  rewrite(tables);
  for (std::size_t g = 0; g < tables.size(); ++g)
    groups_[g].free.insert(groups_[g].free.end(), tables[g].blocks.begin(), tables[g].blocks.end());
}

std::span<std::byte> block_store::part(const group_layout& group, const buffer_layout& buffer,
                                       std::uint32_t block) const {
  // Layouts of this program are packed: what a slot has in a buffer lies in one piece.
  return pools_[buffer.pool].subspan(buffer.offset + block * buffer.slot_stride,
                                     buffer.row_bytes() * buffer.head_count *
                                         group.tokens_per_block);
}

std::uint64_t block_store::touched(std::size_t group, std::uint32_t block) const {
  const auto expected = groups_[group].poison[block];
  std::uint64_t count = 0;
  for (const auto& buffer : layout_.groups[group].buffers) {
    const auto bytes = part(layout_.groups[group], buffer, block);
    if (bytes.front() != expected ||
        std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) != 0)
      count += bytes.size() - static_cast<std::uint64_t>(std::ranges::count(bytes, expected));
  }
  return count;
}

void block_store::poison(std::size_t group, std::uint32_t block) {
  const std::byte byte{++next_poison_};
  groups_[group].poison[block] = byte;
  for (const auto& buffer : layout_.groups[group].buffers) {
    const auto bytes = part(layout_.groups[group], buffer, block);
    std::memset(bytes.data(), std::to_integer<int>(byte), bytes.size());
  }
}

} // namespace baton::soak
