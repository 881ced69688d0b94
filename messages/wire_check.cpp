#include "messages/wire_check.hpp"

#include <span>
#include <string>

#include "messages/layout_check.hpp"

namespace baton {
namespace {

template <class Value, class Limit>
expected<> at_most(std::string_view field, Value value, Limit limit) {
  if (value > limit)
    return refuse("{}: {} exceeds {}", field, value, limit);
  return {};
}

expected<> check_slice(std::uint32_t slice) {
  return at_most("slice", slice, wire_limits::slices - 1);
}

expected<> check_receiver(std::uint32_t rank) {
  return at_most("receiver_rank", rank, layout_limits::ranks - 1);
}

expected<> check_remaining(std::chrono::milliseconds remaining) {
  if (remaining.count() < 0)
    return refuse("remaining_ms: {} is negative", remaining.count());
  return at_most("remaining_ms", remaining.count(),
                 std::chrono::milliseconds{wire_limits::remaining}.count());
}

expected<> check_range(const std::string& field, const group_range& range) {
  if (auto ok = check_name(field + ".group", range.group); !ok)
    return ok;
  if (range.tokens.begin > range.tokens.end)
    return refuse("{}.begin: {} lies past end = {}", field, range.tokens.begin, range.tokens.end);
  if (auto ok = at_most(field + ".tails", range.tails.size(), wire_limits::beams - 1); !ok)
    return ok;
  for (const auto token : range.tails)
    if (auto ok = at_most(field + ".tails", token, wire_limits::tokens); !ok)
      return ok;
  if (range.layers.empty())
    return refuse("{}.first_layer: {} is not before end_layer = {}", field, range.layers.begin,
                  range.layers.end);
  return at_most(field + ".end", range.tokens.end, wire_limits::tokens);
}

expected<> check_ranges(std::string_view field, std::span<const group_range> ranges) {
  if (auto ok = at_most(field, ranges.size(), layout_limits::groups); !ok)
    return ok;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const auto item = fmt::format("{}[{}]", field, i);
    if (auto ok = check_range(item, ranges[i]); !ok)
      return ok;
    for (std::size_t j = 0; j < i; ++j)
      if (ranges[j].group == ranges[i].group)
        return refuse("{}.group: {} is given twice", item, ranges[i].group);
  }
  return {};
}

/// Checks a table, or the tail of a beam; lowers `left` by its blocks.
expected<> check_blocks(const std::string& field, std::uint32_t first_token,
                        std::span<const std::uint32_t> blocks, std::size_t& left) {
  if (auto ok = at_most(field + ".first_block_token", first_token, wire_limits::tokens); !ok)
    return ok;
  if (auto ok = at_most(field + ".blocks", blocks.size(), left); !ok)
    return ok;
  left -= blocks.size();
  for (std::size_t i = 0; i < blocks.size(); ++i)
    if (blocks[i] >= layout_limits::slots)
      return refuse("{}.blocks[{}]: {} exceeds {}", field, i, blocks[i], layout_limits::slots - 1);
  return {};
}

expected<> check_table(const std::string& field, const group_blocks& table) {
  std::size_t left = wire_limits::blocks;
  if (auto ok = check_blocks(field, table.first_block_token, table.blocks, left); !ok)
    return ok;
  for (std::size_t i = 0; i < table.tails.size(); ++i) {
    const auto& tail = table.tails[i];
    const auto item = fmt::format("{}.tails[{}]", field, i);
    if (auto ok = check_blocks(item, tail.first_block_token, tail.blocks, left); !ok)
      return ok;
  }
  return {};
}

expected<> check_tables(const slice_grant& grant) {
  if (grant.blocks.size() != grant.ranges.size())
    return refuse("blocks: {} tables for {} ranges", grant.blocks.size(), grant.ranges.size());
  for (std::size_t i = 0; i < grant.blocks.size(); ++i) {
    const auto field = fmt::format("blocks[{}]", i);
    if (grant.blocks[i].group != grant.ranges[i].group)
      return refuse("{}.group: differs from ranges[{}].group = {}", field, i,
                    grant.ranges[i].group);
    if (grant.blocks[i].tails.size() != grant.ranges[i].tails.size())
      return refuse("{}.tails: {} for the {} of ranges[{}]", field, grant.blocks[i].tails.size(),
                    grant.ranges[i].tails.size(), i);
    if (auto ok = check_table(field, grant.blocks[i]); !ok)
      return ok;
  }
  return {};
}

expected<> check_aux(const slice_grant& grant) {
  if (!grant.aux)
    return {};
  if (!grant.last)
    return refuse("aux: goes with the last slice only");
  return at_most("aux", grant.aux->bytes(), wire_limits::aux_bytes);
}

expected<> check_reason(const error& reason) {
  if (reason.code < errc::invalid_argument || reason.code > last_errc)
    return refuse("reason.code: {} is no error code", static_cast<unsigned>(reason.code));
  return at_most("reason.text", reason.text.size(), wire_limits::text_bytes);
}

expected<> check_body(const pull_request& message) {
  if (auto ok = check_receiver(message.receiver_rank); !ok)
    return ok;
  if (message.receivers == 0)
    return refuse("receivers: must count the sender, is 0");
  if (auto ok = at_most("receivers", message.receivers, layout_limits::ranks); !ok)
    return ok;
  if (auto ok = check_ranges("wants", message.wants); !ok)
    return ok;
  if (auto ok = at_most("have", message.have.size(), wire_limits::slices); !ok)
    return ok;
  for (const auto slice : message.have)
    if (auto ok = at_most("have", slice, wire_limits::slices - 1); !ok)
      return ok;
  if (message.ticket && message.ticket->epoch % 2 == 0)
    return refuse("ticket.epoch: {} is even, so nothing is granted", message.ticket->epoch);
  return check_remaining(message.remaining);
}

expected<> check_body(const nothing_to_pull& message) {
  if (auto ok = check_receiver(message.receiver_rank); !ok)
    return ok;
  return check_remaining(message.remaining);
}

expected<> check_body(const slice_grant& message) {
  if (auto ok = check_slice(message.slice); !ok)
    return ok;
  if (auto ok = check_ranges("ranges", message.ranges); !ok)
    return ok;
  if (auto ok = check_tables(message); !ok)
    return ok;
  if (message.right.epoch % 2 == 0)
    return refuse("right.epoch: {} is even, so nothing is granted", message.right.epoch);
  return check_aux(message);
}

expected<> check_body(const slice_done& message) {
  return check_slice(message.slice);
}

expected<> check_body(const slice_failed& message) {
  if (auto ok = check_slice(message.slice); !ok)
    return ok;
  return check_reason(message.reason);
}

expected<> check_body(const cancel_notice& message) {
  return check_reason(message.reason);
}

} // namespace

expected<> check(const wire_message& message) {
  return std::visit([](const auto& body) { return check_body(body); }, message);
}

} // namespace baton
