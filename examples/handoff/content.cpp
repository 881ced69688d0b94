#include "examples/handoff/content.hpp"

#include <algorithm>
#include <cstring>

#include "examples/handoff/conv_view.hpp"
#include "examples/handoff/pattern.hpp"

namespace baton::handoff {

namespace {

/// Tokens that a block holds; a state counts as one.
std::uint32_t tokens_of(const group_layout& group) noexcept {
  return std::max(group.tokens_per_block, 1u);
}

/// One buffer of one request: its view of the pool, and the blocks that the request has in it.
struct request_buffer {
  const group_layout& group;
  buffer_layout buffer; ///< as the pattern numbers its elements
  std::uint32_t first_dim;
  const group_blocks& table;
  std::span<std::byte> pool;

  std::span<std::byte> row(std::uint32_t head, std::uint32_t token) const {
    const auto place = token - table.first_block_token;
    const auto tokens = tokens_of(group);
    const auto offset = buffer.offset + table.blocks[place / tokens] * buffer.slot_stride +
                        (head - buffer.first_head) * buffer.head_stride +
                        place % tokens * buffer.token_stride;
    return pool.subspan(offset, buffer.row_bytes());
  }
  std::uint32_t end() const {
    return table.first_block_token +
           static_cast<std::uint32_t>(table.blocks.size()) * tokens_of(group);
  }
  /// The tokens that the context side writes; a state counts as one.
  token_range written(const request_spec& request) const {
    return {table.first_block_token, group.is_state() ? 1 : request.tokens};
  }
};

template <class Visit>
void for_each_buffer(const rank_cache& cache, std::size_t request, Visit visit) {
  const auto& tables = cache.tables[request];
  for (std::size_t g = 0; g < tables.size(); ++g)
    for (const auto& buffer : cache.layout.groups[g].buffers)
      visit(request_buffer{cache.layout.groups[g], with_bytes_as_dims(buffer), first_dim_of(buffer),
                           tables[g], cache.pools[buffer.pool]});
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

/// What a slot of a group has in a buffer; the runner's layouts are packed.
std::span<std::byte> slot_of(const rank_cache& cache, const group_layout& group,
                             const buffer_layout& buffer, std::size_t slot) {
  return cache.pools[buffer.pool].subspan(buffer.offset + slot * buffer.slot_stride,
                                          buffer.row_bytes() * buffer.head_count *
                                              tokens_of(group));
}

/// Calls `visit(bytes)` for each block of a request, in each buffer.
template <class Visit>
void for_each_block(const rank_cache& cache, std::size_t request, Visit visit) {
  const auto& tables = cache.tables[request];
  for (std::size_t g = 0; g < tables.size(); ++g)
    for (const auto& buffer : cache.layout.groups[g].buffers)
      for (const auto block : tables[g].blocks)
        visit(slot_of(cache, cache.layout.groups[g], buffer, block));
}

/// Counts the touched bytes of all slots of a group but those marked as used.
std::uint64_t touched_outside(const rank_cache& cache, const group_layout& group,
                              const std::vector<bool>& used) {
  std::uint64_t touched = 0;
  for (const auto& buffer : group.buffers)
    for (std::size_t slot = 0; slot < used.size(); ++slot)
      if (!used[slot])
        touched += touched_bytes(slot_of(cache, group, buffer, slot));
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
        // A state is a matter of all tokens.
        token = group.is_state() ? request.tokens
                                 : std::min(token + group.tokens_per_block, request.tokens);
        used[block] = !spare_cached || token > request.cached_tokens;
      }
    }
    touched += touched_outside(cache, group, used);
  }
  return touched;
}

token_range wanted_tokens(const request_spec& request, const group_layout& group) {
  if (group.is_state())
    return {0, request.cached_tokens < request.tokens ? 1u : 0u};
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
      for_each_row(cache, i, view, view.written(cache.run.requests[i]),
                   [&](const head_pattern& pattern, std::uint32_t token, std::span<std::byte> row) {
                     pattern.fill(token, row, view.first_dim);
                   });
    });
}

wrong_bytes check_context(const rank_cache& cache) {
  wrong_bytes wrong;
  for (std::size_t i = 0; i < cache.tables.size(); ++i)
    for_each_buffer(cache, i, [&](const request_buffer& view) {
      const auto end = view.written(cache.run.requests[i]).end;
      for_each_row(
          cache, i, view, {view.table.first_block_token, view.end()},
          [&](const head_pattern& pattern, std::uint32_t token, std::span<const std::byte> row) {
            wrong.stray +=
                token < end ? pattern.mismatches(token, row, view.first_dim) : touched_bytes(row);
          });
    });
  wrong.stray += touched_outside_requests(cache, false);
  return wrong;
}

std::uint64_t check_request(const rank_cache& cache, std::size_t request) {
  std::uint64_t wrong = 0;
  for_each_buffer(cache, request, [&](const request_buffer& view) {
    for_each_row(
        cache, request, view, wanted_tokens(cache.run.requests[request], view.group),
        [&](const head_pattern& pattern, std::uint32_t token, std::span<const std::byte> row) {
          wrong += pattern.mismatches(token, row, view.first_dim);
        });
  });
  return wrong;
}

std::vector<std::span<std::byte>> rewrite_request(const rank_cache& cache, std::size_t request) {
  std::vector<std::span<std::byte>> written;
  for_each_block(cache, request, [&](std::span<std::byte> block) {
    std::memset(block.data(), std::to_integer<int>(rewritten), block.size());
    written.push_back(block);
  });
  return written;
}

wrong_bytes check_rewritten(const rank_cache& cache, const std::vector<bool>& ended) {
  wrong_bytes wrong;
  for (std::size_t i = 0; i < cache.tables.size(); ++i)
    if (ended[i])
      for_each_block(cache, i, [&](std::span<const std::byte> block) {
        wrong.stray +=
            block.size() - static_cast<std::uint64_t>(std::ranges::count(block, rewritten));
      });
  wrong.stray += touched_outside_requests(cache, false);
  return wrong;
}

wrong_bytes check_generation(const rank_cache& cache, const std::vector<bool>& completed) {
  wrong_bytes wrong;
  for (std::size_t i = 0; i < cache.tables.size(); ++i)
    if (completed[i])
      wrong.mismatched += check_request(cache, i);
  wrong.stray = touched_outside_requests(cache, true);
  return wrong;
}

} // namespace baton::handoff
