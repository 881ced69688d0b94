#include "actors/request_checks.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "actors/block_checks.hpp"
#include "transport/plan/block_tables.hpp"

namespace baton {
namespace {

/// Blocks of one beam of a request: a table, or a tail.
struct beam_blocks {
  std::size_t beam = 0;
  std::uint32_t first = 0;
  const std::vector<std::uint32_t>& blocks;

  [[nodiscard]] std::uint64_t end(const group_layout& group) const noexcept {
    return first + std::uint64_t{blocks.size()} * std::max(group.tokens_per_block, 1u);
  }
  [[nodiscard]] std::string of_beam() const {
    return beam == 0 ? "" : fmt::format(" of beam {}", beam);
  }
};

/// Returns the blocks of all beams of a group, the table first.
std::vector<beam_blocks> beams_of(const group_blocks& table) {
  std::vector<beam_blocks> beams{{0, table.first_block_token, table.blocks}};
  for (const auto& tail : table.tails)
    beams.push_back({beams.size(), tail.first_block_token, tail.blocks});
  return beams;
}

expected<> check_beam(const rank_layout& layout, const group_layout& group, request_id request,
                      const beam_blocks& beam) {
  if (group.is_state()) {
    // A further beam without a slot of its own shares that of beam 0.
    const std::size_t least = beam.beam == 0 ? 1 : 0;
    if (beam.blocks.size() < least || beam.first + beam.blocks.size() != 1)
      return fail(errc::invalid_argument,
                  "request {}: group '{}' holds state, one slot a request; give it 1 block{} from "
                  "token 0, not {} from token {}",
                  request, group.name, beam.of_beam(), beam.blocks.size(), beam.first);
  }
  return check_blocks(layout, group, fmt::format("request {}", request), beam.of_beam(), beam.first,
                      beam.blocks);
}

expected<> check_table(const rank_layout& layout, request_id request, const group_blocks& table) {
  const auto index = layout.find_group(table.group);
  if (!index)
    return fail(errc::invalid_argument,
                "request {}: blocks name group '{}', which this rank does not have", request,
                table.group);
  std::size_t count = 0;
  for (const auto& beam : beams_of(table)) {
    if (auto ok = check_beam(layout, layout.groups[*index], request, beam); !ok)
      return ok;
    count += beam.blocks.size();
  }
  if (count > wire_limits::blocks)
    return fail(errc::invalid_argument,
                "request {}: {} blocks of group '{}', at most {} are possible", request, count,
                table.group, wire_limits::blocks);
  return {};
}

expected<> check_tables(const rank_layout& layout, request_id request,
                        const std::vector<group_blocks>& tables) {
  std::unordered_set<std::string_view> seen;
  for (const auto& table : tables) {
    if (auto ok = check_table(layout, request, table); !ok)
      return ok;
    if (!seen.insert(table.group).second)
      return fail(errc::invalid_argument, "request {}: blocks name group '{}' twice", request,
                  table.group);
    if (table.tails.size() >= wire_limits::beams)
      return fail(errc::invalid_argument,
                  "request {}: {} beams of group '{}', at most {} are "
                  "possible",
                  request, table.tails.size() + 1, table.group, wire_limits::beams);
    if (table.tails.size() != tables.front().tails.size())
      return fail(errc::invalid_argument,
                  "request {}: blocks of group '{}' have {} beams, those of '{}' {}; give every "
                  "group the same number",
                  request, table.group, table.tails.size() + 1, tables.front().group,
                  tables.front().tails.size() + 1);
  }
  return {};
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

/// Whether a slice has a part of a group.
bool is_read(const group_layout& group, const send_slice& slice) {
  return group.is_state() ? slice.last : group.has_any(slice.layers);
}

expected<> check_reach(const group_layout& group, const send_slice& slice) {
  const auto* table = find_table(slice.blocks, group.name);
  if (!is_read(group, slice))
    return {};
  if (!table)
    return fail(errc::invalid_argument, "request {}: blocks of group '{}' are missing",
                slice.request, group.name);
  if (group.is_state() || group.window != 0)
    return {};
  for (const auto& beam : beams_of(*table))
    if ((beam.beam == 0 || beam.first < slice.tokens.end) && beam.end(group) < slice.tokens.end)
      return fail(errc::invalid_argument,
                  "request {}: blocks{} of group '{}' reach token {}, the slice ends at {}",
                  slice.request, beam.of_beam(), group.name, beam.end(group), slice.tokens.end);
  return {};
}

expected<> check_room(const group_range& want, const group_layout& group,
                      const receive_request& request) {
  const auto* table = find_table(request.blocks, group.name);
  if (!table)
    return fail(errc::invalid_argument, "request {}: blocks of group '{}' are missing",
                request.request, group.name);
  for (const auto& beam : beams_of(*table)) {
    const bool begins = beam.beam != 0 || beam.first <= want.tokens.begin;
    const bool ends =
        (beam.beam != 0 && beam.first >= want.tokens.end) || beam.end(group) >= want.tokens.end;
    if (!begins || !ends)
      return fail(
          errc::invalid_argument,
          "request {}: blocks{} of group '{}' hold tokens [{}, {}), but [{}, {}) are wanted",
          request.request, beam.of_beam(), group.name, beam.first, beam.end(group),
          want.tokens.begin, want.tokens.end);
  }
  return {};
}

/// Drops the blocks of `[first, ...)` that hold none of the tokens.
void trim(std::uint32_t& first, std::vector<std::uint32_t>& blocks, std::uint32_t per_block,
          token_range tokens) {
  const auto count = static_cast<std::uint32_t>(blocks.size());
  const auto before = first < tokens.begin ? (tokens.begin - first) / per_block : 0;
  const auto drop = std::min(before, count);
  const auto until = tokens.end > first ? (tokens.end - first + per_block - 1) / per_block : 0;
  blocks.resize(std::min(until, count));
  blocks.erase(blocks.begin(), blocks.begin() + std::min<std::ptrdiff_t>(drop, std::ssize(blocks)));
  first += drop * per_block;
}

} // namespace

expected<> check(const rank_layout& layout, const send_slice& slice) {
  if (slice.tokens.begin >= slice.tokens.end || slice.tokens.end > wire_limits::tokens)
    return fail(errc::invalid_argument,
                "request {}: a slice of tokens [{}, {}) is empty or too long", slice.request,
                slice.tokens.begin, slice.tokens.end);
  if (slice.layers.empty())
    return fail(errc::invalid_argument, "request {}: a slice of layers {} is empty", slice.request,
                to_string(slice.layers));
  if (auto ok = check_deadline(slice.request, slice.timeout); !ok)
    return ok;
  if (slice.aux && slice.aux->bytes() > wire_limits::aux_bytes)
    return fail(errc::invalid_argument, "request {}: {} bytes of aux data; at most {} go along",
                slice.request, slice.aux->bytes(), wire_limits::aux_bytes);
  if (auto ok = check_tables(layout, slice.request, slice.blocks); !ok)
    return ok;
  for (const auto& group : layout.groups)
    if (auto ok = check_reach(group, slice); !ok)
      return ok;
  return {};
}

expected<> check_first(const send_slice& slice) {
  if (slice.tokens.begin != 0)
    return fail(errc::invalid_argument, "request {}: its first slice starts at token {}, not at 0",
                slice.request, slice.tokens.begin);
  if (slice.layers.begin != 0)
    return fail(errc::invalid_argument,
                "request {}: its first slice starts at layer {}, not at 0; begin with layer 0, "
                "whichever layers the rank holds",
                slice.request, slice.layers.begin);
  return {};
}

expected<> check_next(const layer_cover& offered, const send_slice& slice) {
  if (const auto other = offered.unlike(slice.layers, slice.tokens.begin)) {
    const auto whole = offered.even() ? "" : fmt::format(" of layer {}", other->layer);
    return fail(errc::invalid_argument, "request {}: a slice from token {}{} follows one up to {}",
                slice.request, slice.tokens.begin, whole, other->token);
  }
  if (!slice.last)
    return {};
  auto all = offered;
  all.add(slice.layers, slice.tokens);
  if (!all.even())
    return fail(errc::invalid_argument,
                "request {}: with its last slice, layer {} has tokens up to {}, others up to {}; "
                "offer all tokens of every layer before",
                slice.request, all.least().layer, all.least().token, all.most().token);
  return {};
}

expected<> check(const context_request& request) {
  return check_deadline(request.request, request.timeout);
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
  for (std::size_t i = 0; i < wants.size(); ++i)
    if (!wants[i].tokens.empty())
      if (auto ok = check_room(wants[i], layout.groups[i], request); !ok)
        return ok;
  return {};
}

std::vector<group_range> wants_of(const rank_layout& layout, const receive_request& request) {
  std::vector<group_range> wants;
  for (const auto& group : layout.groups) {
    group_range want{group.name, {request.cached_tokens, request.tokens}};
    if (group.is_state())
      want.tokens = want.tokens.empty() ? token_range{} : state_slot;
    else if (group.window != 0 && request.tokens > group.window)
      want.tokens.begin = std::max(want.tokens.begin, request.tokens - group.window);
    if (const auto* table = find_table(request.blocks, group.name))
      want.tails = tails_of(*table);
    wants.push_back(std::move(want));
  }
  return wants;
}

void trim(const rank_layout& layout, send_slice& slice) {
  std::erase_if(slice.blocks, [&](const group_blocks& table) {
    return !is_read(layout.groups[*layout.find_group(table.group)], slice);
  });
  for (auto& table : slice.blocks) {
    const auto& group = layout.groups[*layout.find_group(table.group)];
    if (group.is_state())
      continue;
    trim(table.first_block_token, table.blocks, group.tokens_per_block, slice.tokens);
    for (auto& tail : table.tails)
      trim(tail.first_block_token, tail.blocks, group.tokens_per_block, slice.tokens);
  }
}

} // namespace baton
