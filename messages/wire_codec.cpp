#include <utility>

#include "messages/codec.hpp"
#include "messages/protocol.pb.h"
#include "messages/wire.hpp"
#include "messages/wire_check.hpp"

namespace baton {

static_assert(wire::ErrorCode_MAX == static_cast<int>(last_errc));

namespace {

constexpr field_shape pull_fields[]{{6, "wants", layout_limits::groups, 0, {}},
                                    {11, "ticket", 1, 0, {}}};
constexpr field_shape table_fields[]{{4, "blocks.tails", wire_limits::beams, 0, {}}};
constexpr field_shape grant_fields[]{{6, "ranges", layout_limits::groups, 0, {}},
                                     {7, "blocks", layout_limits::groups, 0, table_fields},
                                     {8, "right", 1, 0, {}},
                                     {9, "aux", 1, 0, {}}};
constexpr field_shape failed_fields[]{{5, "reason", 1, 0, {}}};
constexpr field_shape cancel_fields[]{{3, "reason", 1, 0, {}}};
constexpr field_shape envelope_fields[]{
    {1, "pull_request", 1, 0, pull_fields},   {2, "nothing_to_pull", 1, 0, {}},
    {3, "slice_grant", 1, 0, grant_fields},   {4, "slice_done", 1, 0, {}},
    {5, "slice_failed", 1, 0, failed_fields}, {6, "cancel_notice", 1, 0, cancel_fields}};

template <class Message>
void write_ids(const Message& message, auto& out) {
  out.set_request(message.request.value);
  out.set_pull(message.pull.value);
  if constexpr (requires { message.offer; })
    out.set_offer(message.offer.value);
}

template <class Message>
Message read_ids(const auto& in) {
  Message message;
  message.request = request_id{in.request()};
  message.pull = pull_id{in.pull()};
  if constexpr (requires { message.offer; })
    message.offer = offer_id{in.offer()};
  return message;
}

void write(const group_range& range, wire::GroupRange& out) {
  out.set_group(range.group);
  out.set_begin(range.tokens.begin);
  out.set_end(range.tokens.end);
  out.mutable_tails()->Add(range.tails.begin(), range.tails.end());
  write_layers(range.layers, out);
}

group_range read(const wire::GroupRange& in) {
  return {
      in.group(), {in.begin(), in.end()}, {in.tails().begin(), in.tails().end()}, read_layers(in)};
}

void write(const beam_tail& tail, wire::BeamTail& out) {
  out.set_first_block_token(tail.first_block_token);
  out.mutable_blocks()->Add(tail.blocks.begin(), tail.blocks.end());
}

beam_tail read(const wire::BeamTail& in) {
  return {in.first_block_token(), {in.blocks().begin(), in.blocks().end()}};
}

void write(const group_blocks& table, wire::GroupBlocks& out) {
  out.set_group(table.group);
  out.set_first_block_token(table.first_block_token);
  out.mutable_blocks()->Add(table.blocks.begin(), table.blocks.end());
  for (const auto& tail : table.tails)
    write(tail, *out.add_tails());
}

group_blocks read(const wire::GroupBlocks& in) {
  group_blocks out{in.group(), in.first_block_token(), {in.blocks().begin(), in.blocks().end()}};
  for (const auto& tail : in.tails())
    out.tails.push_back(read(tail));
  return out;
}

void write(const aux_data& aux, wire::Aux& out) {
  out.mutable_first_tokens()->Add(aux.first_tokens.begin(), aux.first_tokens.end());
  out.mutable_draft_tokens()->Add(aux.draft_tokens.begin(), aux.draft_tokens.end());
  out.set_opaque(aux.opaque);
}

aux_data read(const wire::Aux& in) {
  return {{in.first_tokens().begin(), in.first_tokens().end()},
          {in.draft_tokens().begin(), in.draft_tokens().end()},
          in.opaque()};
}

void write(const error& reason, wire::Error& out) {
  out.set_code(write_enum<wire::ErrorCode>(reason.code));
  out.set_text(reason.text.substr(0, wire_limits::text_bytes));
}

error read(const wire::Error& in) {
  return {read_enum<errc>(in.code()), in.text()};
}

template <class Item>
auto read_all(const google::protobuf::RepeatedPtrField<Item>& items) {
  std::vector<decltype(read(std::declval<const Item&>()))> out;
  out.reserve(static_cast<std::size_t>(items.size()));
  for (const auto& item : items)
    out.push_back(read(item));
  return out;
}

void write(const lease& right, wire::Lease& out) {
  out.set_owner(right.owner.value);
  out.set_slot(right.slot);
  out.set_epoch(right.epoch);
}

lease read(const wire::Lease& in) {
  return {incarnation{in.owner()}, in.slot(), in.epoch()};
}

void write(const pull_request& message, wire::PullRequest& out) {
  write_ids(message, out);
  out.set_receiver_rank(message.receiver_rank);
  out.set_layout_digest(message.layout_digest);
  out.set_receivers(message.receivers);
  for (const auto& range : message.wants)
    write(range, *out.add_wants());
  out.mutable_have()->Add(message.have.begin(), message.have.end());
  out.set_have_offer(message.have_offer.value);
  out.set_wants_aux(message.wants_aux);
  out.set_remaining_ms(write_remaining(message.remaining));
  if (message.ticket)
    write(*message.ticket, *out.mutable_ticket());
}

pull_request read(const wire::PullRequest& in) {
  auto message = read_ids<pull_request>(in);
  message.receiver_rank = in.receiver_rank();
  message.layout_digest = in.layout_digest();
  message.receivers = in.receivers();
  message.wants = read_all(in.wants());
  message.have.assign(in.have().begin(), in.have().end());
  message.have_offer = offer_id{in.have_offer()};
  message.wants_aux = in.wants_aux();
  message.remaining = read_remaining(in.remaining_ms());
  if (in.has_ticket())
    message.ticket = read(in.ticket());
  return message;
}

void write(const nothing_to_pull& message, wire::NothingToPull& out) {
  write_ids(message, out);
  out.set_receiver_rank(message.receiver_rank);
  out.set_remaining_ms(write_remaining(message.remaining));
}

nothing_to_pull read(const wire::NothingToPull& in) {
  auto message = read_ids<nothing_to_pull>(in);
  message.receiver_rank = in.receiver_rank();
  message.remaining = read_remaining(in.remaining_ms());
  return message;
}

void write(const slice_grant& message, wire::SliceGrant& out) {
  write_ids(message, out);
  out.set_slice(message.slice);
  out.set_last(message.last);
  for (const auto& range : message.ranges)
    write(range, *out.add_ranges());
  for (const auto& table : message.blocks)
    write(table, *out.add_blocks());
  write(message.right, *out.mutable_right());
  if (message.aux)
    write(*message.aux, *out.mutable_aux());
}

slice_grant read(const wire::SliceGrant& in) {
  auto message = read_ids<slice_grant>(in);
  message.slice = in.slice();
  message.last = in.last();
  message.ranges = read_all(in.ranges());
  message.blocks = read_all(in.blocks());
  message.right = read(in.right());
  if (in.has_aux())
    message.aux = read(in.aux());
  return message;
}

void write(const slice_done& message, wire::SliceDone& out) {
  write_ids(message, out);
  out.set_slice(message.slice);
}

slice_done read(const wire::SliceDone& in) {
  auto message = read_ids<slice_done>(in);
  message.slice = in.slice();
  return message;
}

void write(const slice_failed& message, wire::SliceFailed& out) {
  write_ids(message, out);
  out.set_slice(message.slice);
  write(message.reason, *out.mutable_reason());
  out.set_by_ticket(message.by_ticket);
}

slice_failed read(const wire::SliceFailed& in) {
  auto message = read_ids<slice_failed>(in);
  message.slice = in.slice();
  message.reason = read(in.reason());
  message.by_ticket = in.by_ticket();
  return message;
}

void write(const cancel_notice& message, wire::CancelNotice& out) {
  write_ids(message, out);
  write(message.reason, *out.mutable_reason());
  out.set_unasked(message.unasked);
}

cancel_notice read(const wire::CancelNotice& in) {
  auto message = read_ids<cancel_notice>(in);
  message.reason = read(in.reason());
  message.unasked = in.unasked();
  return message;
}

auto& body(const pull_request&, wire::Envelope& out) {
  return *out.mutable_pull_request();
}
auto& body(const nothing_to_pull&, wire::Envelope& out) {
  return *out.mutable_nothing_to_pull();
}
auto& body(const slice_grant&, wire::Envelope& out) {
  return *out.mutable_slice_grant();
}
auto& body(const slice_done&, wire::Envelope& out) {
  return *out.mutable_slice_done();
}
auto& body(const slice_failed&, wire::Envelope& out) {
  return *out.mutable_slice_failed();
}
auto& body(const cancel_notice&, wire::Envelope& out) {
  return *out.mutable_cancel_notice();
}

std::optional<wire_message> read(const wire::Envelope& in) {
  switch (in.body_case()) {
  case wire::Envelope::kPullRequest:
    return read(in.pull_request());
  case wire::Envelope::kNothingToPull:
    return read(in.nothing_to_pull());
  case wire::Envelope::kSliceGrant:
    return read(in.slice_grant());
  case wire::Envelope::kSliceDone:
    return read(in.slice_done());
  case wire::Envelope::kSliceFailed:
    return read(in.slice_failed());
  case wire::Envelope::kCancelNotice:
    return read(in.cancel_notice());
  case wire::Envelope::BODY_NOT_SET:
    break;
  }
  return std::nullopt;
}

} // namespace

std::string encode(const wire_message& message) {
  wire::Envelope out;
  std::visit([&](const auto& content) { write(content, body(content, out)); }, message);
  return out.SerializeAsString();
}

expected<wire_message> decode_message(std::string_view bytes) {
  const auto envelope =
      parse<wire::Envelope>(bytes, wire_limits::message_bytes, "message", envelope_fields);
  if (!envelope)
    return fail(envelope.error());
  auto message = read(*envelope);
  if (!message)
    return fail(errc::invalid_argument, "message: of a kind that is not known");
  if (auto ok = check(*message); !ok)
    return fail(std::move(ok).error());
  return *std::move(message);
}

} // namespace baton
