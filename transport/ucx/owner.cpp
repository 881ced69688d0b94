#include "transport/ucx/owner.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "transport/plan/block_tables.hpp"

namespace baton {

namespace {

/// Pulls of one peer, and of one lease, at once; more come from a peer that lost its way. Each
/// takes memory for its plan.
constexpr std::size_t most_serves = 1u << 16;
constexpr std::uint32_t most_of_lease = 16;

constexpr auto taken_back = "the blocks were taken back";

/// Whether everyone may read what was granted. The tails of beams are then the reader's own.
bool for_all(const grant_spec& granted) {
  return granted.reader == incarnation{};
}

bool covers(const grant_spec& granted, const group_range& wanted) {
  const auto* table = find_table(granted.blocks, wanted.group);
  return wanted.tokens.empty() ||
         std::ranges::any_of(granted.ranges, [&](const group_range& range) {
           const bool same_beams = for_all(granted)
                                       ? table && table->tails.size() == wanted.tails.size()
                                       : range.tails == wanted.tails;
           return range.group == wanted.group && same_beams &&
                  range.layers.contains(wanted.layers) &&
                  range.tokens.begin <= wanted.tokens.begin &&
                  range.tokens.end >= wanted.tokens.end;
         });
}

} // namespace

ucx_owner::ucx_owner(incarnation life, grant_book& grants, session_ledger& ledger, ucx_peers& peers,
                     staging_ring& ring, chunk_mover& mover, std::size_t chunk_bytes)
    : life_{life},
      grants_{grants},
      ledger_{ledger},
      peers_{peers},
      ring_{ring},
      mover_{mover},
      chunk_bytes_{chunk_bytes} {
}

void ucx_owner::pull(const ucx_message& message) noexcept {
  const auto bytes = message.rendezvous ? std::span<const std::byte>{} : message.bytes();
  auto call = decode_lane_pull({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (call)
    inbox_.push_back([this, call = std::move(*call)] { begin(call); });
  else
    ++dropped_;
}

bool ucx_owner::read_mail() {
  const auto letters = inbox_.size();
  for (auto left = letters; left > 0; --left) {
    const auto letter = std::move(inbox_.front());
    inbox_.pop_front();
    letter();
  }
  return letters > 0;
}

void ucx_owner::begin(const lane_pull& call) {
  const auto peer = peers_.find(call.reader);
  const key name{call.reader.value, call.number};
  if (!peer || serving_.contains(name) || !peers_.meet(peer, call.link)) {
    ++dropped_;
    return;
  }
  auto begun = examine(call, peer);
  if (!begun)
    return peer->send(lane_message::end,
                      {name.first, name.second, static_cast<std::uint64_t>(begun.error().code)},
                      std::move(begun.error().text));
  if (begun->chunks.count() == 0)
    return peer->send(lane_message::end, {name.first, name.second, 0});
  ++peer->serves;
  queue(name, serving_.emplace(name, std::move(*begun)).first->second);
}

expected<ucx_owner::outgoing> ucx_owner::examine(const lane_pull& call,
                                                 const std::shared_ptr<ucx_peer>& peer) {
  if (refusal_)
    return fail(*refusal_);
  if (call.right.owner != life_)
    return fail(errc::invalid_argument, "the lease is of rank {}, this is rank {}",
                call.right.owner, life_);
  auto record = grants_.find(call.right);
  if (!record)
    return fail(errc::lease_revoked, "{}", taken_back);
  if ((!for_all(record->spec) && record->spec.reader != call.reader) || !peer->card.serve)
    return fail(errc::invalid_argument, "lease {} was not granted to rank {}", call.right.slot,
                call.reader);
  if (peer->serves >= most_serves)
    return fail(errc::out_of_resources, "rank {} has {} pulls under way", call.reader, most_serves);
  if (record->serves >= most_of_lease)
    return fail(errc::out_of_resources, "rank {} has {} pulls under way of lease {}", call.reader,
                record->serves, call.right.slot);
  auto what = plan_for(call, *record, *peer->card.serve);
  if (!what)
    return fail(std::move(what.error()));
  auto stream = std::make_shared<const plan_stream>(std::move(*what));
  const stream_chunks chunks{*stream,
                             std::min<std::uint64_t>(chunk_bytes_, peer->card.chunk_bytes)};
  outgoing serving{peer, std::move(record), std::move(stream), chunks};
  serving.credits = std::min<std::size_t>(call.credits, chunks.count());
  // A revocation is either seen here or told to this thread.
  if (!grants_.serve(*serving.record))
    return fail(errc::lease_revoked, "{}", taken_back);
  ++serving.record->serves;
  serving.count.reset(serving.record.get());
  return serving;
}

expected<plan> ucx_owner::plan_for(const lane_pull& call, const grant_record& record,
                                   const planner& plans) const {
  std::vector<plan_blocks> blocks;
  for (const auto& range : call.ranges) {
    if (!covers(record.spec, range))
      return fail(errc::invalid_argument,
                  "tokens [{}, {}) of layers {} of group \"{}\" were not granted",
                  range.tokens.begin, range.tokens.end, to_string(range.layers), range.group);
    if (const auto* table = find_table(record.spec.blocks, range.group))
      blocks.push_back({range.group, range.tokens, table, nullptr, {}, range.tails, range.layers});
  }
  auto what = plans.make(blocks);
  if (what && what->bytes != call.bytes)
    return fail(errc::transport_failed, "the reader plans {} bytes, the owner {}", call.bytes,
                what->bytes);
  return what;
}

ucx_owner::outgoing* ucx_owner::find(const key& name) noexcept {
  const auto found = serving_.find(name);
  if (found != serving_.end())
    return &found->second;
  ++dropped_;
  return nullptr;
}

void ucx_owner::credit(const ucx_message& message) noexcept {
  const auto head = read_head<pull_head>(message.header);
  const key name = head ? key{head->reader, head->number} : key{};
  inbox_.push_back([this, name, more = head ? head->value : 0] {
    auto* serving = find(name);
    if (serving == nullptr)
      return;
    serving->credits += std::min<std::uint64_t>(more, serving->chunks.count() - serving->credits);
    queue(name, *serving);
  });
}

void ucx_owner::abort(const ucx_message& message) noexcept {
  const auto head = read_head<pull_head>(message.header);
  inbox_.push_back([this, name = head ? key{head->reader, head->number} : key{}] {
    const auto* serving = find(name);
    if (serving == nullptr)
      return;
    --serving->peer->serves;
    serving_.erase(name);
  });
}

void ucx_owner::queue(const key& name, outgoing& serving) {
  if (serving.queued || serving.next == serving.chunks.count() || serving.next >= serving.credits)
    return;
  serving.queued = true;
  ready_.push_back(name);
}

bool ucx_owner::serve() {
  for (auto left = ready_.size(); left > 0 && ring_.available() > 0; --left) {
    const auto name = ready_.front();
    ready_.pop_front();
    const auto found = serving_.find(name);
    if (found == serving_.end())
      continue;
    auto& serving = found->second;
    if (serving.peer->staged >= ring_.most_for_one()) {
      ready_.push_back(name);
      continue;
    }
    serving.queued = false;
    stage_chunk(name, serving);
    return true;
  }
  return false;
}

/// The session cannot retire while its blocks are gathered from.
void ucx_owner::stage_chunk(const key& name, outgoing& serving) {
  const auto record = serving.record;
  const auto session = record->session;
  if (!ledger_.enter(session))
    return end(name, {errc::lease_revoked, taken_back});
  if (!grants_.table().granted(record->right)) {
    ledger_.leave(session);
    return end(name, {errc::lease_revoked, taken_back});
  }
  const auto index = serving.next++;
  const auto offset = serving.chunks.begin(index);
  const auto bytes = serving.chunks.bytes(index);
  const chunk_head head{name.first, name.second, index, offset};
  const auto peer = serving.peer;
  auto slot = std::make_shared<staging_ring::slot>(ring_.take());
  ++serving.in_flight;
  ++peer->staged;
  queue(name, serving);
  chunk_move move{serving.stream, offset, bytes, slot->data()};
  mover_.gather(std::move(move), [this, name, head, bytes, peer, record,
                                  slot = std::move(slot)](expected<> gathered) mutable {
    if (gathered && !grants_.table().granted(record->right))
      gathered = fail(errc::lease_revoked, "{}", taken_back);
    --peer->staged;
    ++peer->left;
    leave_after(ledger_, record->session, nullptr,
                [&] { staged(name, head, bytes, std::move(slot), std::move(gathered)); });
  });
}

/// What was gathered while granted goes out; the rest of the pull ends with the first failure.
void ucx_owner::staged(const key& name, const chunk_head& head, std::uint64_t bytes,
                       staged_slot slot, expected<> gathered) {
  const auto found = serving_.find(name);
  if (found == serving_.end())
    return;
  if (!gathered)
    return end(name, gathered.error());
  const auto peer = found->second.peer;
  const std::span<const std::byte> body{slot->data(), bytes};
  ++peer->staged;
  peer->endpoint->send_large(
      static_cast<unsigned>(lane_message::chunk), head_bytes(head), body,
      [this, name, peer, slot = std::move(slot)](ucs_status_t status) mutable {
        slot.reset();
        --peer->staged;
        ++peer->left;
        sent(name, status);
      });
}

/// Only when the reader has all chunks are they known to have been stable while they were fetched.
void ucx_owner::sent(const key& name, ucs_status_t status) {
  const auto found = serving_.find(name);
  if (found == serving_.end())
    return;
  auto& serving = found->second;
  --serving.in_flight;
  if (status != UCS_OK)
    return end(name,
               mover_.explain({errc::transport_failed,
                               fmt::format("sending a chunk: {}", ucs_status_string(status))}));
  if (serving.next == serving.chunks.count() && serving.in_flight == 0)
    end(name, 0, {});
}

void ucx_owner::end(key name, std::uint64_t code, std::string text) {
  const auto found = serving_.find(name);
  const auto peer = found->second.peer;
  serving_.erase(found);
  --peer->serves;
  peer->send(lane_message::end, {name.first, name.second, code}, std::move(text));
}

void ucx_owner::end(const key& name, const error& why) {
  end(name, static_cast<std::uint64_t>(why.code), why.text);
}

void ucx_owner::revoked(const lease& right) {
  std::vector<key> ended;
  for (const auto& [name, serving] : serving_)
    if (serving.record->right == right)
      ended.push_back(name);
  for (const auto& name : ended)
    end(name, {errc::lease_revoked, taken_back});
}

void ucx_owner::lost(const std::shared_ptr<ucx_peer>& peer) {
  std::erase_if(serving_, [&](const auto& item) { return item.second.peer == peer; });
  peer->serves = 0;
}

void ucx_owner::refuse_all(const error& why) {
  if (!refusal_)
    refusal_ = why;
  end_all(why);
}

void ucx_owner::end_all(const error& why) {
  while (!serving_.empty())
    end(serving_.begin()->first, why);
}

} // namespace baton
