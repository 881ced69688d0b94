#include "actors/request_checks.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "transport/plan/block_tables.hpp"

namespace baton {
namespace {

expected<> check_tables(const rank_layout& layout, request_id request,
                        const std::vector<group_blocks>& tables) {
  std::unordered_set<std::string_view> seen;
  for (const auto& table : tables) {
    const auto index = layout.find_group(table.group);
    if (!index)
      return fail(errc::invalid_argument,
                  "request {}: blocks name group '{}', which this rank does not have", request,
                  table.group);
    if (!seen.insert(table.group).second)
      return fail(errc::invalid_argument, "request {}: blocks name group '{}' twice", request,
                  table.group);
    const auto& group = layout.groups[*index];
    if (group.tokens_per_block != 0 && table.first_block_token % group.tokens_per_block != 0)
      return fail(
          errc::invalid_argument,
          "request {}: first_block_token {} of group '{}' is not a multiple of its {} tokens "
          "per block",
          request, table.first_block_token, table.group, group.tokens_per_block);
    const auto slots = slots_of(layout, group);
    for (const auto block : table.blocks)
      if (block >= slots)
        return fail(errc::invalid_argument,
                    "request {}: block id {} of group '{}' is outside of its pool of {} slots",
                    request, block, table.group, slots);
  }
  return {};
}

std::uint64_t end_of(const group_layout& group, const group_blocks& table) {
  return table.first_block_token +
         std::uint64_t{group.tokens_per_block} * std::uint64_t{table.blocks.size()};
}

expected<> check_deadline(request_id request, std::chrono::milliseconds timeout) {
  if (timeout <= std::chrono::milliseconds{0})
    return fail(errc::invalid_argument, "request {}: timeout of {} ms; give it more than 0",
                request, timeout.count());
  if (timeout > wire_limits::remaining)
    return fail(errc::invalid_argument, "request {}: timeout of {} ms; at most {} are possible",
                request, timeout.count(),
                std::chrono::milliseconds{wire_limits::remaining}.count());

  return {};
}

} // namespace

expected<> check(const rank_layout& layout, const send_slice& slice) {
  if (slice.tokens.begin >= slice.tokens.end || slice.tokens.end > wire_limits::tokens)
    return fail(errc::invalid_argument,
                "request {}: a slice of tokens [{}, {}) is empty or too long", slice.request,
                slice.tokens.begin, slice.tokens.end);
  if (auto ok = check_deadline(slice.request, slice.timeout); !ok)
    return ok;
  if (slice.aux && slice.aux->bytes() > wire_limits::aux_bytes)
    return fail(errc::invalid_argument, "request {}: {} bytes of aux data; at most {} go along",
                slice.request, slice.aux->bytes(), wire_limits::aux_bytes);
  if (auto ok = check_tables(layout, slice.request, slice.blocks); !ok)
    return ok;
  for (const auto& group : layout.groups) {
    const auto* table = find_table(slice.blocks, group.name);
    if (!table)
      return fail(errc::invalid_argument, "request {}: blocks of group '{}' are missing",
                  slice.request, group.name);
    if (group.tokens_per_block == 0)
      continue;
    if (end_of(group, *table) < slice.tokens.end && group.window == 0)
      return fail(errc::invalid_argument,
                  "request {}: blocks of group '{}' reach token {}, the slice ends at {}",
                  slice.request, group.name, end_of(group, *table), slice.tokens.end);
    if (table->first_block_token > slice.tokens.begin && group.window == 0)
      return fail(errc::invalid_argument,
                  "request {}: blocks of group '{}' start at token {}, the slice at {}; only a "
                  "sliding window may leave blocks out",
                  slice.request, group.name, table->first_block_token, slice.tokens.begin);
  }
  return {};
}

expected<> check(const rank_layout& layout, const receive_request& request) {
  if (request.tokens == 0 || request.tokens > wire_limits::tokens)
    return fail(errc::invalid_argument, "request {}: {} tokens; 1 to {} are possible",
                request.request, request.tokens, wire_limits::tokens);
  if (request.cached_tokens > request.tokens)
    return fail(errc::invalid_argument, "request {}: {} cached tokens of {} in all",
                request.request, request.cached_tokens, request.tokens);
  if (auto ok = check_deadline(request.request, request.timeout); !ok)
    return ok;
  if (auto ok = check_tables(layout, request.request, request.blocks); !ok)
    return ok;
  const auto wants = wants_of(layout, request);
  for (std::size_t i = 0; i < wants.size(); ++i) {
    const auto& group = layout.groups[i];
    if (wants[i].tokens.empty() || group.tokens_per_block == 0)
      continue;
    const auto* table = find_table(request.blocks, group.name);
    if (!table)
      return fail(errc::invalid_argument, "request {}: blocks of group '{}' are missing",
                  request.request, group.name);
    if (table->first_block_token > wants[i].tokens.begin ||
        end_of(group, *table) < wants[i].tokens.end)
      return fail(errc::invalid_argument,
                  "request {}: blocks of group '{}' hold tokens [{}, {}), but [{}, {}) are wanted",
                  request.request, group.name, table->first_block_token, end_of(group, *table),
                  wants[i].tokens.begin, wants[i].tokens.end);
  }
  return {};
}

std::vector<group_range> wants_of(const rank_layout& layout, const receive_request& request) {
  std::vector<group_range> wants;
  for (const auto& group : layout.groups) {
    auto begin = request.cached_tokens;
    if (group.window != 0 && request.tokens > group.window)
      begin = std::max(begin, request.tokens - group.window);
    wants.push_back({group.name, {begin, request.tokens}});
  }
  return wants;
}

void trim(const rank_layout& layout, send_slice& slice) {
  for (auto& table : slice.blocks) {
    const auto per_block = layout.groups[*layout.find_group(table.group)].tokens_per_block;
    if (per_block == 0)
      continue;
    const auto count = static_cast<std::uint32_t>(table.blocks.size());
    const auto before = table.first_block_token < slice.tokens.begin
                            ? (slice.tokens.begin - table.first_block_token) / per_block
                            : 0;
    const auto drop = std::min(before, count);
    const auto until =
        slice.tokens.end > table.first_block_token
            ? (slice.tokens.end - table.first_block_token + per_block - 1) / per_block
            : 0;
    table.blocks.resize(std::min(until, count));
    table.blocks.erase(table.blocks.begin(),
                       table.blocks.begin() +
                           std::min<std::ptrdiff_t>(drop, std::ssize(table.blocks)));
    table.first_block_token += drop * per_block;
  }
}

} // namespace baton
