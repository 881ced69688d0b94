#include "actors/receive_protocol.hpp"

#include <algorithm>
#include <utility>

#include "actors/tickets.hpp"

namespace baton {
namespace {

/// Of errors of a read by ticket: whether asking may help.
bool says_stale(errc code) {
  return code == errc::lease_revoked || code == errc::invalid_argument;
}

const group_range* find_range(const std::vector<group_range>& ranges, const std::string& group) {
  const auto found = std::ranges::find(ranges, group, &group_range::group);
  return found == ranges.end() ? nullptr : &*found;
}

} // namespace

receive_protocol::receive_protocol(receive_spec spec, receive_backend& backend)
    : spec_{std::move(spec)}, backend_{backend} {
}

void receive_protocol::start(time_point now) {
  state_ = session_state::ready;
  pass_once(probe_point::introduced);
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(spec_.deadline - now);
  const auto remaining = std::max(left, std::chrono::milliseconds{0});
  auto by_ticket = take_tickets();
  for (const auto& source : spec_.route.sources)
    ask(source, remaining);
  for (const auto& idle : spec_.route.idle)
    backend_.send(idle.peer,
                  nothing_to_pull{spec_.request.request, spec_.pull, spec_.rank, remaining});
  pass_once(probe_point::requested);
  for (auto& [source, grant] : by_ticket)
    read(*source, std::move(grant));
  finish_if_complete();
}

std::vector<std::pair<const source_route*, slice_grant>> receive_protocol::take_tickets() {
  std::vector<std::pair<const source_route*, slice_grant>> all;
  const auto& ticket = spec_.request.context.ticket;
  for (const auto& source : spec_.route.sources) {
    if (!ticket)
      break;
    auto grants = grants_of(*ticket, spec_.request.request, spec_.pull, source, wants_of(source));
    auto& state = tickets_[source.rank];
    state.use = grants.empty() ? ticket_use::refused : ticket_use::used;
    if (grants.empty())
      continue;
    state.first = grants.front().right;
    spec_.progress[source.rank] = {grants.front().offer, {}, std::nullopt};
    for (auto& grant : grants) {
      state.reading.insert(grant.slice);
      all.emplace_back(&source, std::move(grant));
    }
  }
  return all;
}

void receive_protocol::ask(const source_route& source, std::chrono::milliseconds remaining) {
  pull_request message;
  message.request = spec_.request.request;
  message.pull = spec_.pull;
  message.receiver_rank = spec_.rank;
  message.layout_digest = spec_.route.layout_digest;
  message.receivers = source.receivers;
  message.wants = wants_of(source);
  const auto& progress = spec_.progress[source.rank];
  for (const auto& [slice, ranges] : progress.slices)
    message.have.push_back(slice);
  message.have_offer = progress.offer;
  message.wants_aux = source.carries_aux;
  message.remaining = remaining;
  if (const auto& ticket = tickets_[source.rank]; ticket.use == ticket_use::used)
    message.ticket = ticket.first;
  backend_.send(source.peer, std::move(message));
}

void receive_protocol::handle(const session_input& input) {
  if (state_ >= session_state::fully_transferred)
    return;
  if (const auto* loss = std::get_if<link_loss>(&input)) {
    if (const auto* source = source_of(loss->peer))
      lost(*source, loss->gone);
  } else if (const auto* message = std::get_if<peer_message>(&input)) {
    const auto* source = source_of(message->peer);
    const auto* granted = std::get_if<slice_grant>(&message->message);
    if (source && granted && granted->pull == spec_.pull)
      grant(*source, *granted);
    else
      ++dropped_;
  }
}

void receive_protocol::grant(const source_route& source, const slice_grant& grant) {
  if (auto& ticket = tickets_[source.rank]; !ticket.reading.empty()) {
    ticket.waiting.insert_or_assign(grant.slice, grant);
    return;
  }
  auto& progress = spec_.progress[source.rank];
  // The source offers the request anew: what an earlier offer brought is no part of this one.
  if (progress.offer != grant.offer) {
    if (std::any_of(pulling_.begin(), pulling_.end(),
                    [&](const auto& pull) { return pull.first.first == source.rank; })) {
      end(attempt_failure{error{errc::lease_revoked,
                                fmt::format("context rank {} offered request {} anew while it was "
                                            "read",
                                            source.rank, grant.request)},
                          true});
      return;
    }
    progress = {grant.offer, {}, std::nullopt};
  }
  if (progress.slices.contains(grant.slice)) {
    backend_.send(source.peer, slice_done{grant.request, grant.pull, grant.offer, grant.slice});
    return;
  }
  const std::pair id{source.rank, grant.slice};
  if (pulling_.contains(id)) {
    ++dropped_;
    return;
  }
  if (auto ok = check(source, grant); !ok) {
    end(attempt_failure{ok.error(), false});
    return;
  }
  read(source, grant);
}

void receive_protocol::read(const source_route& source, slice_grant grant) {
  if (state_ == session_state::ready)
    backend_.report(first_grant{});
  state_ = session_state::transferring;
  pass_once(probe_point::granted);
  pull_job job{source.peer,  grant.right,          grant.ranges,
               grant.blocks, spec_.request.blocks, spec_.request.after};
  const auto slice = grant.slice;
  pulling_.emplace(std::pair{source.rank, slice}, std::move(grant));
  backend_.pull(source.rank, slice, std::move(job));
  pass_once(probe_point::pulling);
}

void receive_protocol::pulled(std::uint32_t source, std::uint32_t slice,
                              expected<pull_stats> result) {
  auto node = pulling_.extract({source, slice});
  if (node.empty() || state_ >= session_state::fully_transferred)
    return;
  auto& grant = node.mapped();
  const auto route = std::find_if(spec_.route.sources.begin(), spec_.route.sources.end(),
                                  [&](const auto& r) { return r.rank == source; });
  const bool by_ticket = tickets_[source].reading.erase(slice) != 0;
  if (!result) {
    backend_.send(route->peer, slice_failed{grant.request, grant.pull, grant.offer, slice,
                                            result.error(), by_ticket});
    if (by_ticket && says_stale(result.error().code))
      return fall_back(*route);
    end(attempt_failure{result.error(), retryable(result.error().code)});
    return;
  }
  auto& progress = spec_.progress[source];
  progress.slices[slice] = grant.ranges;
  if (grant.last)
    progress.last = slice;
  backend_.report(slice_validated{source, grant.offer, slice, grant.last, grant.ranges,
                                  std::move(grant.aux), std::move(*result), tickets_[source].use});
  pass_once(probe_point::done);
  backend_.send(route->peer, slice_done{grant.request, grant.pull, grant.offer, slice});
  finish_if_complete();
  read_what_waits(*route);
}

void receive_protocol::fall_back(const source_route& source) {
  auto& ticket = tickets_[source.rank];
  ticket.use = ticket_use::refused;
  if (ticket.lost)
    lost(source, *ticket.lost);
  read_what_waits(source);
}

void receive_protocol::read_what_waits(const source_route& source) {
  auto& ticket = tickets_[source.rank];
  if (!ticket.reading.empty())
    return;
  for (const auto& [slice, waiting] : std::exchange(ticket.waiting, {}))
    if (state_ < session_state::fully_transferred)
      grant(source, waiting);
}

void receive_protocol::lost(const source_route& source, bool gone) {
  if (spec_.progress[source.rank].complete())
    return;
  // With every grant in hand the pulls go on. Mapped memory outlives its owner, and validation
  // decides; on the ucx lane the owner's process must send, so that its end is theirs.
  if (fully_granted(source) && (!gone || source.lane.lane == lane_kind::mapped)) {
    tickets_[source.rank].lost = gone;
    return;
  }
  end(attempt_failure{
      error{errc::peer_lost, fmt::format("context rank {} was lost before request {} was read from "
                                         "it; send the request to another instance",
                                         source.rank, spec_.request.request)},
      !gone});
}

bool receive_protocol::fully_granted(const source_route& source) const {
  const auto& progress = spec_.progress.at(source.rank);
  auto last = progress.last;
  auto in_hand = progress.slices.size();
  for (const auto& [id, grant] : pulling_)
    if (id.first == source.rank) {
      ++in_hand;
      if (grant.last)
        last = id.second;
    }
  return last && in_hand == *last + 1;
}

expected<> receive_protocol::check(const source_route& source, const slice_grant& grant) const {
  for (const auto& range : grant.ranges) {
    const auto* wanted = find_range(spec_.wants, range.group);
    const bool known =
        std::find(source.groups.begin(), source.groups.end(), range.group) != source.groups.end();
    if (!wanted || !known || range.tails != wanted->tails ||
        !wanted->layers.contains(range.layers) ||
        (!range.tokens.empty() &&
         (range.tokens.begin < wanted->tokens.begin || range.tokens.end > wanted->tokens.end)))
      return fail(errc::invalid_argument,
                  "context rank {} granted tokens [{}, {}) of layers {} of group '{}' of request "
                  "{}, which were not asked for",
                  source.rank, range.tokens.begin, range.tokens.end, to_string(range.layers),
                  range.group, grant.request);
  }
  if (grant.right.owner != source.peer)
    return fail(errc::invalid_argument, "context rank {} granted a lease of another process",
                source.rank);
  return {};
}

expected<> receive_protocol::check_cover(const source_route& source) const {
  const auto& progress = spec_.progress.at(source.rank);
  for (std::size_t i = 0; i < source.groups.size(); ++i) {
    const auto* want = find_range(spec_.wants, source.groups[i]);
    if (!want || want->tokens.empty())
      continue;
    std::vector<const group_range*> pieces;
    for (const auto& [slice, ranges] : progress.slices)
      if (const auto* piece = find_range(ranges, want->group))
        pieces.push_back(piece);
    if (const auto gap = first_gap(source.layers[i], *want, std::move(pieces)))
      return fail(errc::invalid_argument,
                  "context rank {} marked its last slice of request {}, but offered the tokens of "
                  "layer {} of group '{}' only up to {} of {}; offer all tokens of the request",
                  source.rank, spec_.request.request, gap->layer, want->group, gap->token,
                  want->tokens.end);
  }
  return {};
}

void receive_protocol::finish_if_complete() {
  if (state_ >= session_state::fully_transferred)
    return;
  for (const auto& source : spec_.route.sources)
    if (!spec_.progress[source.rank].complete())
      return;
  state_ = session_state::kv_transferred;
  for (const auto& source : spec_.route.sources)
    if (auto ok = check_cover(source); !ok) {
      end(attempt_failure{ok.error(), false});
      return;
    }
  end(std::nullopt);
}

void receive_protocol::end(std::optional<attempt_failure> failure) {
  state_ = failure ? session_state::error : session_state::fully_transferred;
  backend_.report(session_end{std::move(failure), dropped_});
}

void receive_protocol::pass_once(probe_point point) {
  if (passed_.insert(point).second)
    backend_.passed(point);
}

const source_route* receive_protocol::source_of(incarnation peer) const noexcept {
  for (const auto& source : spec_.route.sources)
    if (source.peer == peer)
      return &source;
  return nullptr;
}

std::vector<group_range> receive_protocol::wants_of(const source_route& source) const {
  std::vector<group_range> wants;
  for (const auto& want : spec_.wants)
    if (std::find(source.groups.begin(), source.groups.end(), want.group) != source.groups.end())
      wants.push_back(want);
  return wants;
}

} // namespace baton
