#include "actors/send_protocol.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "actors/tickets.hpp"
#include "transport/plan/block_tables.hpp"

namespace baton {

send_protocol::send_protocol(send_spec spec, send_backend& backend)
    : spec_{std::move(spec)}, backend_{backend} {
}

void send_protocol::start() {
  state_ = session_state::ready;
  for (std::uint32_t slice = 0; slice < spec_.slices.size(); ++slice)
    await(slice);
  const auto calls = std::move(spec_.calls);
  for (const auto& [rank, call] : calls)
    if (state_ < session_state::fully_transferred)
      called(call);
  // They belong to the calls above; a newer call says itself what it has.
  spec_.receipts.clear();
}

void send_protocol::handle(const session_input& input) {
  if (state_ >= session_state::fully_transferred)
    return;
  if (const auto* slice = std::get_if<send_slice>(&input)) {
    const auto index = static_cast<std::uint32_t>(spec_.slices.size());
    spec_.slices.push_back(*slice);
    await(index);
    grant_all();
    make_ticket_if_wanted();
    release_if_read(index);
    finish_if_complete();
  } else if (const auto* loss = std::get_if<link_loss>(&input)) {
    lost(*loss);
  } else if (std::holds_alternative<ticket_wanted>(input)) {
    ticket_wanted_ = true;
    make_ticket_if_wanted();
  } else {
    const auto& message = std::get<peer_message>(input);
    handle(message.peer, message.message);
  }
}

void send_protocol::handle(incarnation peer, const wire_message& message) {
  if (const auto* call = std::get_if<pull_request>(&message))
    called({peer, *call});
  else if (const auto* nothing = std::get_if<nothing_to_pull>(&message))
    called({peer, *nothing});
  else if (const auto* done = std::get_if<slice_done>(&message))
    acknowledged(peer, *done);
  else if (const auto* failure = std::get_if<slice_failed>(&message))
    failed(peer, *failure);
  else
    ++dropped_;
}

void send_protocol::called(const receiver_call& call) {
  pass_once(probe_point::introduced);
  pass_once(probe_point::requested);
  if (std::holds_alternative<nothing_to_pull>(call.message)) {
    expected_ = 0;
    release_all_read();
    finish_if_complete();
    return;
  }
  const auto& request = std::get<pull_request>(call.message);
  expected_ = request.receivers;
  auto& to = receivers_[request.receiver_rank];
  if (to.call.pull == request.pull && to.peer == call.peer) {
    ++dropped_;
    return;
  }
  revoke_all(to);
  to.peer = call.peer;
  to.call = request;
  to.done.clear();
  to.by_ticket = !ticket_.empty() && request.ticket == ticket_.front();
  if (request.have_offer == spec_.offer)
    to.done.insert(request.have.begin(), request.have.end());
  if (auto receipts = spec_.receipts.extract(request.receiver_rank))
    to.done.merge(receipts.mapped());
  if (to.by_ticket)
    note_grant();
  for (const auto slice : spec_.released)
    if (!to.done.contains(slice))
      return end(attempt_failure{
          error{errc::lease_revoked,
                fmt::format("generation rank {} needs slice {} of request {} again, but its blocks "
                            "were released early; compute the request anew",
                            request.receiver_rank, slice, spec_.request)},
          false});
  grant_all(to);
  release_all_read();
  finish_if_complete();
}

void send_protocol::await(std::uint32_t slice) {
  if (const auto event = spec_.slices[slice].after)
    backend_.when(slice, event);
  else
    filled_.insert(slice);
}

void send_protocol::filled(std::uint32_t slice, const expected<>& complete) {
  if (state_ >= session_state::fully_transferred)
    return;
  if (!complete) {
    end(attempt_failure{
        error{complete.error().code,
              fmt::format("the GPU work before the event of slice {} of request {}: {}", slice,
                          spec_.request, complete.error().text)},
        false});
    return;
  }
  filled_.insert(slice);
  backend_.report(slice_filled{slice});
  grant_all();
  make_ticket_if_wanted();
  release_if_read(slice);
  finish_if_complete();
}

void send_protocol::make_ticket_if_wanted() {
  if (!ticket_wanted_ || !all_filled() || state_ >= session_state::fully_transferred)
    return;
  ticket_wanted_ = false;
  if (!ticket_.empty())
    return;
  // Whoever holds a ticket may come late, and a slice that is released early is granted once.
  if (std::ranges::any_of(spec_.slices, &send_slice::early_release))
    return backend_.report(ticket_made{});
  auto ticket = std::make_shared<request_ticket>();
  ticket->request = spec_.request;
  ticket->ranks.push_back({spec_.rank, {}, spec_.offer, {}, {}, false});
  for (const auto& slice : spec_.slices) {
    auto spec = bearer_grant(slice, spec_.states);
    const auto right = backend_.grant(spec);
    if (!right) {
      revoke_ticket();
      return backend_.report(ticket_made{});
    }
    ticket_.push_back(*right);
    add_slice(*ticket, std::move(spec), *right);
    ticket->ranks.front().life = right->owner;
  }
  if (const auto& aux = spec_.slices.back().aux) {
    ticket->aux.push_back(*aux);
    ticket->ranks.front().aux = 0;
  }
  backend_.report(ticket_made{std::move(ticket)});
}

void send_protocol::revoke_ticket() {
  for (const auto& right : std::exchange(ticket_, {}))
    backend_.revoke(right);
}

void send_protocol::grant_all() {
  for (auto& [rank, to] : receivers_)
    if (state_ < session_state::fully_transferred)
      grant_all(to);
}

void send_protocol::grant_all(receiver& to) {
  if (to.by_ticket)
    return;
  for (const auto slice : filled_)
    if (!to.done.contains(slice) && !to.granted.contains(slice) && !grant(to, slice))
      return;
}

group_range send_protocol::offered(const group_range& want, const send_slice& slice) const {
  auto part = want;
  if (std::find(spec_.states.begin(), spec_.states.end(), want.group) == spec_.states.end()) {
    part.tokens = intersect(want.tokens, slice.tokens);
    part.layers = common_layers(want.layers, slice.layers);
  } else {
    part.tokens = slice.last ? intersect(want.tokens, state_slot) : token_range{};
  }
  return part;
}

expected<> send_protocol::add_range(slice_grant& message, const receiver& to,
                                    const group_range& want) const {
  const auto& slice = spec_.slices[message.slice];
  const auto* table = find_table(slice.blocks, want.group);
  auto part = offered(want, slice);
  if (!table || part.tokens.empty() || part.layers.empty())
    return {};
  if (part.tokens.begin < table->first_block_token)
    return fail(
        errc::invalid_argument,
        "request {}: generation rank {} wants tokens of group '{}' from {} on, but the "
        "context rank's blocks begin at token {}; leave out only blocks that the window has "
        "passed or that every receiver has cached",
        spec_.request, to.call.receiver_rank, want.group, part.tokens.begin,
        table->first_block_token);
  if (table->tails.size() != want.tails.size())
    return fail(errc::invalid_argument,
                "request {}: {} beams of group '{}' are offered, but generation rank {} has blocks "
                "for {}; give both sides the same number of beams",
                spec_.request, table->tails.size() + 1, want.group, to.call.receiver_rank,
                want.tails.size() + 1);
  message.ranges.push_back(std::move(part));
  message.blocks.push_back(*table);
  return {};
}

bool send_protocol::grant(receiver& to, std::uint32_t index) {
  const auto& slice = spec_.slices[index];
  slice_grant message;
  message.request = spec_.request;
  message.pull = to.call.pull;
  message.offer = spec_.offer;
  message.slice = index;
  message.last = slice.last;
  for (const auto& want : to.call.wants)
    if (auto ok = add_range(message, to, want); !ok) {
      end(attempt_failure{std::move(ok.error()), false});
      return false;
    }
  if (slice.last && to.call.wants_aux)
    message.aux = slice.aux;
  auto right = backend_.grant({to.peer, message.ranges, message.blocks});
  if (!right) {
    end(attempt_failure{
        error{right.error().code, fmt::format("request {}: {}", spec_.request, right.error().text)},
        false});
    return false;
  }
  message.right = *right;
  to.granted.emplace(index, *right);
  note_grant();
  backend_.send(to.peer, std::move(message));
  pass_once(probe_point::pulling);
  return true;
}

void send_protocol::note_grant() {
  if (state_ == session_state::ready)
    backend_.report(first_grant{});
  state_ = session_state::transferring;
  pass_once(probe_point::granted);
}

void send_protocol::acknowledged(incarnation peer, const slice_done& message) {
  auto* from = find(peer, message.pull);
  // Whoever reads by a ticket of this offer may be done before it is granted anything.
  const auto may_have = [&](const receiver& of) {
    return of.granted.contains(message.slice) ||
           (of.call.ticket && !of.done.contains(message.slice));
  };
  if (!from || message.offer != spec_.offer || message.slice >= spec_.slices.size() ||
      !may_have(*from)) {
    ++dropped_;
    return;
  }
  // First of all: should this session crash, the next one knows.
  backend_.report(slice_receipt{from->call.receiver_rank, message.pull, message.slice});
  if (const auto granted = from->granted.extract(message.slice))
    backend_.revoke(granted.mapped());
  from->done.insert(message.slice);
  release_if_read(message.slice);
  pass_once(probe_point::done);
  finish_if_complete();
}

void send_protocol::failed(incarnation peer, const slice_failed& message) {
  auto* from = find(peer, message.pull);
  if (from && message.by_ticket) {
    if (std::exchange(from->by_ticket, false))
      grant_all(*from);
    return;
  }
  if (!from || !from->granted.contains(message.slice)) {
    ++dropped_;
    return;
  }
  backend_.revoke(from->granted.at(message.slice));
  from->granted.erase(message.slice);
}

void send_protocol::lost(const link_loss& loss) {
  for (auto& [rank, from] : receivers_) {
    if (from.peer != loss.peer || complete(from))
      continue;
    revoke_all(from);
    if (loss.gone) {
      end(attempt_failure{
          error{errc::peer_lost, fmt::format("generation rank {} was lost before it had all of "
                                             "request {}; offer the request to another instance",
                                             rank, spec_.request)},
          false});
      return;
    }
  }
}

void send_protocol::revoke_all(receiver& from) {
  for (const auto& [slice, right] : from.granted)
    backend_.revoke(right);
  from.granted.clear();
}

void send_protocol::release_all_read() {
  for (std::uint32_t slice = 0; slice < spec_.slices.size(); ++slice)
    release_if_read(slice);
}

void send_protocol::release_if_read(std::uint32_t slice) {
  if (state_ >= session_state::fully_transferred || !spec_.slices[slice].early_release ||
      !filled_.contains(slice) || !expected_ || receivers_.size() < *expected_)
    return;
  for (const auto& [rank, of] : receivers_)
    if (!of.done.contains(slice))
      return;
  if (spec_.released.insert(slice).second)
    backend_.report(slice_released{slice});
}

void send_protocol::finish_if_complete() {
  if (state_ >= session_state::fully_transferred || !expected_ || !all_filled() ||
      receivers_.size() < *expected_)
    return;
  for (const auto& [rank, of] : receivers_)
    if (!complete(of))
      return;
  end(std::nullopt);
}

void send_protocol::end(std::optional<attempt_failure> failure) {
  state_ = failure ? session_state::error : session_state::fully_transferred;
  for (auto& [rank, of] : receivers_)
    revoke_all(of);
  revoke_ticket();
  backend_.report(session_end{std::move(failure), dropped_});
}

void send_protocol::pass_once(probe_point point) {
  if (passed_.insert(point).second)
    backend_.passed(point);
}

send_protocol::receiver* send_protocol::find(incarnation peer, pull_id pull) noexcept {
  for (auto& [rank, of] : receivers_)
    if (of.peer == peer && of.call.pull == pull)
      return &of;
  return nullptr;
}

bool send_protocol::complete(const receiver& of) const noexcept {
  if (!offered_last())
    return false;
  for (std::uint32_t slice = 0; slice < spec_.slices.size(); ++slice)
    if (!of.done.contains(slice))
      return false;
  return true;
}

bool send_protocol::all_filled() const noexcept {
  return offered_last() && filled_.size() == spec_.slices.size();
}

bool send_protocol::offered_last() const noexcept {
  return !spec_.slices.empty() && spec_.slices.back().last;
}

} // namespace baton
