#include "messages/agreement.hpp"
#include "messages/agreement.pb.h"
#include "messages/codec.hpp"
#include "messages/layout.hpp"
#include "messages/layout_check.hpp"
#include "messages/wire.hpp"

namespace baton {
namespace {

using std::chrono::milliseconds;

constexpr field_shape item_fields[]{{2, "failure", 1, 0, {}}};
constexpr field_shape vote_fields[]{{7, "items", agreement_limits::items, 0, item_fields}};
constexpr field_shape verdict_fields[]{{5, "items", agreement_limits::items, 0, item_fields}};
constexpr field_shape agreement_fields[]{{1, "vote", 1, 0, vote_fields},
                                         {2, "verdict", 1, 0, verdict_fields}};

void write(const agreement_item& item, wire::AgreementItem& out) {
  out.set_request(item.request.value);
  if (item.failure) {
    out.mutable_failure()->set_code(write_enum<wire::ErrorCode>(item.failure->code));
    out.mutable_failure()->set_text(item.failure->text.substr(0, agreement_limits::text_bytes));
  }
  out.set_remaining_ms(write_remaining(item.remaining));
}

agreement_item read(const wire::AgreementItem& in) {
  agreement_item item{request_id{in.request()}, std::nullopt, read_remaining(in.remaining_ms())};
  if (in.has_failure())
    item.failure = error{read_enum<errc>(in.failure().code()), in.failure().text()};
  return item;
}

template <class Message>
void write_items(const std::vector<agreement_item>& items, Message& out) {
  for (const auto& item : items)
    write(item, *out.add_items());
}

expected<> check_topic(std::uint32_t topic) {
  if (topic != static_cast<std::uint32_t>(agreement_topic::ended) &&
      topic != static_cast<std::uint32_t>(agreement_topic::ready))
    return refuse("topic: {} is none", topic);
  return {};
}

expected<> check_rounds(std::uint64_t round, std::uint64_t attempt) {
  if (round == 0)
    return refuse("round: 0 given, the first is 1");
  if (attempt == 0)
    return refuse("attempt: 0 given, the first is 1");
  return {};
}

expected<> check_remaining(const std::string& field, milliseconds remaining) {
  if (remaining > wire_limits::remaining)
    return refuse("{}: exceeds {}", field, milliseconds{wire_limits::remaining}.count());
  return {};
}

expected<> check_item(const std::string& field, const agreement_item& item, agreement_topic topic) {
  if (item.failure && topic != agreement_topic::ended)
    return refuse("{}.failure: only ended requests have one", field);
  if (item.failure &&
      (item.failure->code < errc::invalid_argument || item.failure->code > last_errc))
    return refuse("{}.failure.code: {} is no error code", field,
                  static_cast<unsigned>(item.failure->code));
  if (item.failure && item.failure->text.size() > agreement_limits::text_bytes)
    return refuse("{}.failure.text: {} bytes exceed {}", field, item.failure->text.size(),
                  agreement_limits::text_bytes);
  return check_remaining(field + ".remaining_ms", item.remaining);
}

template <class Message>
expected<std::vector<agreement_item>> read_items(const Message& in, agreement_topic topic) {
  std::vector<agreement_item> items;
  items.reserve(static_cast<std::size_t>(in.items_size()));
  for (const auto& one : in.items()) {
    items.push_back(read(one));
    if (auto ok = check_item(fmt::format("items[{}]", items.size() - 1), items.back(), topic); !ok)
      return fail(std::move(ok).error());
  }
  return items;
}

expected<> check(const wire::AgreementVote& in) {
  if (auto ok = check_topic(in.topic()); !ok)
    return ok;
  if (auto ok = check_rounds(in.round(), in.attempt()); !ok)
    return ok;
  if (in.life() == 0)
    return refuse("life: must not be 0");
  if (in.rank() >= layout_limits::ranks)
    return refuse("rank: {} exceeds {}", in.rank(), layout_limits::ranks - 1);
  return check_remaining("remaining_ms", read_remaining(in.remaining_ms()));
}

expected<agreement_vote> read(const wire::AgreementVote& in) {
  if (auto ok = check(in); !ok)
    return fail(std::move(ok).error());
  agreement_vote vote;
  vote.life = incarnation{in.life()};
  vote.rank = in.rank();
  vote.topic = static_cast<agreement_topic>(in.topic());
  vote.round = in.round();
  vote.seen = in.seen();
  vote.attempt = in.attempt();
  vote.at_least = in.at_least();
  vote.open = in.open();
  vote.remaining = read_remaining(in.remaining_ms());
  auto items = read_items(in, vote.topic);
  if (!items)
    return fail(std::move(items).error());
  vote.items = *std::move(items);
  return vote;
}

expected<agreement_verdict> read(const wire::AgreementVerdict& in) {
  if (auto ok = check_topic(in.topic()); !ok)
    return fail(std::move(ok).error());
  if (auto ok = check_rounds(in.round(), in.attempt()); !ok)
    return fail(std::move(ok).error());
  agreement_verdict verdict;
  verdict.topic = static_cast<agreement_topic>(in.topic());
  verdict.round = in.round();
  verdict.seen = in.seen();
  verdict.attempt = in.attempt();
  auto items = read_items(in, verdict.topic);
  if (!items)
    return fail(std::move(items).error());
  verdict.items = *std::move(items);
  return verdict;
}

} // namespace

std::string encode(const agreement_vote& vote) {
  wire::Agreement message;
  auto& out = *message.mutable_vote();
  out.set_life(vote.life.value);
  out.set_rank(vote.rank);
  out.set_topic(static_cast<std::uint32_t>(vote.topic));
  out.set_round(vote.round);
  out.set_seen(vote.seen);
  out.set_attempt(vote.attempt);
  out.set_at_least(vote.at_least);
  out.set_open(vote.open);
  out.set_remaining_ms(write_remaining(vote.remaining));
  write_items(vote.items, out);
  return message.SerializeAsString();
}

std::string encode(const agreement_verdict& verdict) {
  wire::Agreement message;
  auto& out = *message.mutable_verdict();
  out.set_topic(static_cast<std::uint32_t>(verdict.topic));
  out.set_round(verdict.round);
  out.set_seen(verdict.seen);
  out.set_attempt(verdict.attempt);
  write_items(verdict.items, out);
  return message.SerializeAsString();
}

expected<agreement_vote> decode_vote(std::string_view bytes) {
  const auto message = parse<wire::Agreement>(bytes, agreement_limits::message_bytes,
                                              "agreement vote", agreement_fields);
  if (!message)
    return fail(message.error());
  if (!message->has_vote())
    return refuse("vote: is missing");
  return read(message->vote());
}

expected<agreement_verdict> decode_verdict(std::string_view bytes) {
  const auto message = parse<wire::Agreement>(bytes, agreement_limits::message_bytes,
                                              "agreement verdict", agreement_fields);
  if (!message)
    return fail(message.error());
  if (!message->has_verdict())
    return refuse("verdict: is missing");
  return read(message->verdict());
}

} // namespace baton
