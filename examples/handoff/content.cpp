#include "examples/handoff/content.hpp"

#include <algorithm>
#include <cstring>

#include "examples/handoff/pattern.hpp"

namespace baton::handoff {

namespace {

/// One buffer of one request: its view of the pool, and the blocks that the request has in it.
struct request_buffer {
  const group_layout& group;
  const buffer_layout& buffer;
  const group_blocks& table;
  std::span<std::byte> pool;

  std::span<std::byte> row(std::uint32_t head, std::uint32_t token) const {
    const auto place = token - table.first_block_token;
    const auto block = table.blocks[place / group.tokens_per_block];
    const auto offset = buffer.offset + block * buffer.slot_stride +
                        (head - buffer.first_head) * buffer.head_stride +
                        place % group.tokens_per_block * buffer.token_stride;
    return pool.subspan(offset, buffer.row_bytes());
  }
  std::uint32_t end() const {
    return table.first_block_token +
           static_cast<std::uint32_t>(table.blocks.size()) * group.tokens_per_block;
  }
};

template <class Visit>
void for_each_buffer(const rank_cache& cache, std::size_t request, Visit visit) {
  const auto& tables = cache.tables[request];
  for (std::size_t g = 0; g < tables.size(); ++g)
    for (const auto& buffer : cache.layout.groups[g].buffers)
      visit(request_buffer{cache.layout.groups[g], buffer, tables[g], cache.pools[buffer.pool]});
}

/// Calls `visit(pattern, token, row)` for every head and for the tokens of a range.
template <class Visit>
void for_each_row(const rank_cache& cache, std::size_t request, const request_buffer& view,
                  token_range tokens, Visit visit) {
  for (std::uint32_t i = 0; i < view.buffer.head_count; ++i) {
    const auto head = view.buffer.first_head + i;
    const head_pattern pattern{
        cache.run.seed, cache.run.requests[request].id, view.buffer.layer, view.buffer.role,
        head,           size_of(view.buffer.type)};
    for (auto token = tokens.begin; token < tokens.end; ++token)
      visit(pattern, token, view.row(head, token));
  }
}

/// Counts the touched bytes of all slots of a group but those marked as used.
std::uint64_t touched_outside(const rank_cache& cache, const group_layout& group,
                              const std::vector<bool>& used) {
  std::uint64_t touched = 0;
  for (const auto& buffer : group.buffers) {
    const auto bytes = buffer.row_bytes() * buffer.head_count * group.tokens_per_block;
    for (std::size_t slot = 0; slot < used.size(); ++slot)
      if (!used[slot])
        touched += touched_bytes(
            cache.pools[buffer.pool].subspan(buffer.offset + slot * buffer.slot_stride, bytes));
  }
  return touched;
}

/// Counts the touched bytes outside of the requests' blocks. Blocks whose tokens all lie before
/// `cached_tokens` count as outside when `spare_cached` is set.
std::uint64_t touched_outside_requests(const rank_cache& cache, bool spare_cached) {
  std::uint64_t touched = 0;
  for (std::size_t g = 0; g < cache.layout.groups.size(); ++g) {
    const auto& group = cache.layout.groups[g];
    std::vector<bool> used(cache.run.sides[cache.layout.role].blocks);
    for (std::size_t i = 0; i < cache.tables.size(); ++i) {
      if (cache.tables[i].empty())
        continue;
      const auto& request = cache.run.requests[i];
      auto token = cache.tables[i][g].first_block_token;
      for (auto block : cache.tables[i][g].blocks) {
        token = std::min(token + group.tokens_per_block, request.tokens);
        used[block] = !spare_cached || token > request.cached_tokens;
      }
    }
    touched += touched_outside(cache, group, used);
  }
  return touched;
}

token_range wanted_tokens(const request_spec& request, const group_layout& group) {
  const auto begin =
      group.window != 0 && request.tokens > group.window ? request.tokens - group.window : 0;
  return {std::max(begin, request.cached_tokens), request.tokens};
}

} // namespace

wrong_bytes& wrong_bytes::operator+=(const wrong_bytes& other) noexcept {
  mismatched += other.mismatched;
  stray += other.stray;
  return *this;
}

void clear_pools(const rank_cache& cache) {
  for (auto pool : cache.pools)
    std::memset(pool.data(), std::to_integer<int>(untouched), pool.size());
}

void write_requests(const rank_cache& cache) {
  for (std::size_t i = 0; i < cache.tables.size(); ++i)
    for_each_buffer(cache, i, [&](const request_buffer& view) {
      for_each_row(cache, i, view, {view.table.first_block_token, cache.run.requests[i].tokens},
                   [](const head_pattern& pattern, std::uint32_t token, std::span<std::byte> row) {
                     pattern.fill(token, row);
                   });
    });
}

wrong_bytes check_context(const rank_cache& cache) {
  wrong_bytes wrong;
  for (std::size_t i = 0; i < cache.tables.size(); ++i)
    for_each_buffer(cache, i, [&](const request_buffer& view) {
      const auto tokens = cache.run.requests[i].tokens;
      for_each_row(
          cache, i, view, {view.table.first_block_token, view.end()},
          [&](const head_pattern& pattern, std::uint32_t token, std::span<const std::byte> row) {
            wrong.stray += token < tokens ? pattern.mismatches(token, row) : touched_bytes(row);
          });
    });
  wrong.stray += touched_outside_requests(cache, false);
  return wrong;
}

wrong_bytes check_generation(const rank_cache& cache, const std::vector<bool>& completed) {
  wrong_bytes wrong;
  for (std::size_t i = 0; i < cache.tables.size(); ++i)
    if (completed[i])
      for_each_buffer(cache, i, [&](const request_buffer& view) {
        for_each_row(
            cache, i, view, wanted_tokens(cache.run.requests[i], view.group),
            [&](const head_pattern& pattern, std::uint32_t token, std::span<const std::byte> row) {
              wrong.mismatched += pattern.mismatches(token, row);
            });
      });
  wrong.stray = touched_outside_requests(cache, true);
  return wrong;
}

} // namespace baton::handoff
