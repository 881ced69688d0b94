#include "actors/supervisor.hpp"

#include <algorithm>
#include <iterator>

namespace baton {
namespace {

template <class Duration>
std::chrono::microseconds micros(Duration span) {
  return std::chrono::duration_cast<std::chrono::microseconds>(span);
}

error handed_over(request_id request) {
  return {errc::unknown_request,
          fmt::format("request {} was handed over completely before", request)};
}

} // namespace

supervisor::supervisor(rank_layout layout, transceiver_options options, supervisor_backend& backend,
                       std::uint64_t seed)
    : layout_{std::move(layout)},
      options_{std::move(options)},
      backend_{backend},
      ended_before_{options_.tombstones},
      jitter_{seed} {
}

// -- calls of the engine --------------------------------------------------------------------------

expected<> supervisor::admit(request_id request, instance_role side) const {
  // Later slices of a live request still come while a shutdown drains.
  if (refusing_ && !records_.contains(request))
    return fail(errc::shutting_down, "request {}: this rank is shutting down", request);
  if (layout_.role != side)
    return fail(errc::invalid_argument, "request {}: this is a {} rank, the call is for a {} rank",
                request, to_string(layout_.role), to_string(side));
  return {};
}

expected<supervisor::record> supervisor::open(time_point now, request_id request,
                                              std::chrono::milliseconds timeout) {
  if (records_.size() >= options_.live_requests)
    return fail(errc::out_of_resources, "request {}: {} requests are in flight; try again later",
                request, records_.size());
  record entry;
  entry.begin = now;
  entry.deadline = now + timeout;
  entry.result.request = request;
  due(entry.deadline);
  return entry;
}

expected<> supervisor::offer(time_point now, send_slice slice) {
  if (auto ok = admit(slice.request, instance_role::context); !ok)
    return ok;
  if (auto ok = check(layout_, slice); !ok)
    return ok;
  trim(layout_, slice);
  const auto id = slice.request;
  if (const auto found = records_.find(id); found != records_.end()) {
    auto& entry = found->second;
    auto& work = std::get<sending>(entry.work);
    if (work.slices.back().last)
      return fail(errc::duplicate_request,
                  "request {} is alive and its last slice was offered; wait for its end", id);
    if (entry.verdict)
      return fail(*entry.verdict);
    if (work.slices.back().tokens.end != slice.tokens.begin)
      return fail(errc::invalid_argument, "request {}: a slice from token {} follows one up to {}",
                  id, slice.tokens.begin, work.slices.back().tokens.end);
    if (slice.after)
      work.unfilled.insert(static_cast<std::uint32_t>(work.slices.size()));
    work.slices.push_back(slice);
    if (entry.at == phase::running)
      backend_.tell(entry.key, std::move(slice));
    return {};
  }
  if (slice.tokens.begin != 0) {
    // The engine may still be computing chunks of a request that has ended meanwhile.
    const auto* ended = ended_before_.find(id);
    if (ended && ended->failure)
      return fail(*ended->failure);
    return fail(errc::invalid_argument, "request {}: its first slice starts at token {}, not at 0",
                id, slice.tokens.begin);
  }
  auto entry = open(now, id, slice.timeout);
  if (!entry)
    return fail(entry.error());
  sending work;
  work.offer = random_id<offer_id>();
  if (slice.after)
    work.unfilled.insert(0);
  work.slices.push_back(std::move(slice));
  if (auto waiting = early_.extract(id)) {
    early_count_ -= waiting.mapped().size();
    for (auto& [rank, call] : waiting.mapped())
      work.calls.emplace(rank, std::move(call.call));
  }
  entry->work = std::move(work);
  ++live_sends_;
  begin_send(records_.emplace(id, std::move(*entry)).first->second);
  return {};
}

expected<> supervisor::receive(time_point now, receive_request request,
                               std::optional<caller_id> caller) {
  if (auto ok = admit(request.request, instance_role::generation); !ok)
    return ok;
  const auto id = request.request;
  if (records_.contains(id))
    return fail(errc::duplicate_request, "request {} is being received already; it goes on", id);
  if (auto ok = check(layout_, request); !ok)
    return ok;
  auto entry = open(now, id, request.timeout);
  if (!entry)
    return fail(entry.error());
  receiving work;
  work.wants = wants_of(layout_, request);
  work.request = std::move(request);
  work.caller = caller;
  entry->work = std::move(work);
  begin_receive(records_.emplace(id, std::move(*entry)).first->second);
  return {};
}

void supervisor::cancel(request_id request, caller_id caller) {
  const auto found = records_.find(request);
  if (found == records_.end()) {
    backend_.answer_safe(caller);
    return;
  }
  found->second.cancellers.push_back(caller);
  condemn(found->second,
          error{errc::cancelled, fmt::format("request {} was cancelled by this rank's "
                                             "engine",
                                             request)});
}

void supervisor::await_ended(instance_role side, std::optional<std::size_t> at_least,
                             caller_id caller) {
  waiters_.push_back({side, at_least, caller});
  serve_waiters();
}

std::optional<request_state> supervisor::state_of(request_id request) const {
  if (const auto found = records_.find(request); found != records_.end())
    return side_of(found->second) == instance_role::context
               ? request_state::context_trans_in_progress
               : request_state::generation_trans_in_progress;
  if (const auto* ended = ended_before_.find(request))
    return ended->state;
  return std::nullopt;
}

void supervisor::cancel_all() {
  for (auto& [id, entry] : records_)
    condemn(entry,
            error{errc::shutting_down, fmt::format("request {} was alive when this rank shut "
                                                   "down",
                                                   id)});
}

// -- events ---------------------------------------------------------------------------------------

void supervisor::received(time_point now, incarnation peer, wire_message message) {
  const auto id = request_of(message);
  if (const auto* call = std::get_if<pull_request>(&message)) {
    called(now, id, call->receiver_rank, {peer, *call});
  } else if (const auto* nothing = std::get_if<nothing_to_pull>(&message)) {
    called(now, id, nothing->receiver_rank, {peer, *nothing});
  } else if (const auto* notice = std::get_if<cancel_notice>(&message)) {
    cancelled_by_peer(peer, *notice);
  } else if (const auto found = records_.find(id);
             found != records_.end() && found->second.at == phase::running) {
    backend_.tell(found->second.key, peer_message{peer, std::move(message)});
  } else {
    ++dropped_;
  }
}

void supervisor::called(time_point now, request_id request, std::uint32_t receiver,
                        receiver_call call) {
  if (layout_.role != instance_role::context)
    return refuse(call.peer, request, call.pull(),
                  {errc::invalid_argument, "this is a generation rank; ask a context rank"});
  if (const auto found = records_.find(request); found != records_.end()) {
    auto& entry = found->second;
    auto& work = std::get<sending>(entry.work);
    if (entry.verdict)
      return refuse(call.peer, request, call.pull(), *entry.verdict);
    if (entry.succeeded)
      return refuse(call.peer, request, call.pull(), handed_over(request));
    // What an earlier call was sent says nothing about a newer one.
    if (const auto old = work.calls.find(receiver);
        old != work.calls.end() && old->second.pull() != call.pull())
      work.receipts.erase(receiver);
    work.calls.insert_or_assign(receiver, call);
    if (entry.at == phase::running)
      std::visit(
          [&](auto& m) {
            backend_.tell(entry.key, peer_message{call.peer, std::move(m)});
          },
          call.message);
    return;
  }
  if (const auto* ended = ended_before_.find(request))
    return refuse(call.peer, request, call.pull(),
                  ended->failure ? *ended->failure : handed_over(request));
  if (refusing_)
    return refuse(call.peer, request, call.pull(),
                  {errc::shutting_down, "the context rank is shutting down"});
  auto& waiting = early_[request];
  if (const auto old = waiting.find(receiver); old == waiting.end()) {
    if (early_count_ >= options_.early_requests) {
      if (waiting.empty())
        early_.erase(request);
      return refuse(call.peer, request, call.pull(),
                    {errc::out_of_resources, "too many requests wait at the context rank for being "
                                             "offered"});
    }
    ++early_count_;
  }
  const auto remaining = std::visit([](const auto& m) { return m.remaining; }, call.message);
  due(now + remaining);
  waiting.insert_or_assign(receiver, early_call{std::move(call), now + remaining});
}

void supervisor::refuse(incarnation peer, request_id request, pull_id pull, error reason) {
  backend_.send(peer, cancel_notice{request, pull, std::move(reason)});
}

void supervisor::cancelled_by_peer(incarnation peer, const cancel_notice& notice) {
  const auto found = records_.find(notice.request);
  if (found == records_.end()) {
    forget_early(notice.request, peer, notice.pull);
    return;
  }
  auto& entry = found->second;
  if (auto* work = std::get_if<sending>(&entry.work)) {
    for (const auto& [rank, call] : work->calls)
      if (call.peer == peer && call.pull() == notice.pull)
        return condemn(entry, {notice.reason.code,
                               fmt::format("generation rank {}: {}", rank, notice.reason.text)});
  } else {
    auto& receive = std::get<receiving>(entry.work);
    if (notice.pull == receive.pull && receive.route)
      for (const auto& source : receive.route->sources)
        if (source.peer == peer && !receive.progress[source.rank].complete())
          return condemn(entry, {notice.reason.code, fmt::format("context rank {}: {}", source.rank,
                                                                 notice.reason.text)});
  }
  ++dropped_;
}

void supervisor::forget_early(request_id request, incarnation peer, pull_id pull) {
  const auto waiting = early_.find(request);
  if (waiting == early_.end()) {
    ++dropped_;
    return;
  }
  early_count_ -= std::erase_if(waiting->second, [&](const auto& entry) {
    return entry.second.call.peer == peer && entry.second.call.pull() == pull;
  });
  if (waiting->second.empty())
    early_.erase(waiting);
}

void supervisor::routed(time_point now, session_key key,
                        tl::expected<receive_route, attempt_failure> route) {
  auto* entry = find(key);
  if (!entry || entry->at != phase::routing)
    return;
  if (!route) {
    retry_or_condemn(now, *entry, route.error());
    return;
  }
  auto& work = std::get<receiving>(entry->work);
  const auto before = std::exchange(work.route, *route);
  work.pull = random_id<pull_id>();
  for (const auto& source : route->sources) {
    // Slices are numbered by one life of a source; those of an earlier life say nothing about this
    // one.
    if (before && std::none_of(before->sources.begin(), before->sources.end(),
                               [&](const auto& old) { return old.peer == source.peer; }))
      work.progress.erase(source.rank);
    work.reports[source.rank] = {source.rank, source.lane, work.reports[source.rank].bytes};
  }
  entry->at = phase::running;
  backend_.spawn(receive_spec{key, work.pull, layout_.rank, work.request, work.wants,
                              std::move(*route), work.progress, entry->deadline});
}

void supervisor::reported(time_point now, session_key key, session_report report) {
  auto* entry = find(key);
  if (!entry || entry->at != phase::running)
    return;
  if (auto* validated = std::get_if<slice_validated>(&report)) {
    auto& work = std::get<receiving>(entry->work);
    auto& progress = work.progress[validated->source];
    progress.slices[validated->slice] = std::move(validated->ranges);
    if (validated->last)
      progress.last = validated->slice;
    if (validated->aux)
      entry->result.aux = std::move(validated->aux);
    work.reports[validated->source].bytes += validated->stats.bytes;
    entry->result.bytes += validated->stats.bytes;
    entry->result.fragments += validated->stats.fragments;
    entry->result.templates += validated->stats.templates;
    entry->result.pulling = micros(now - entry->granted_at.value_or(now));
  } else if (const auto* receipt = std::get_if<slice_receipt>(&report)) {
    std::get<sending>(entry->work).receipts[receipt->receiver].insert(receipt->slice);
  } else if (const auto* filled = std::get_if<slice_filled>(&report)) {
    std::get<sending>(entry->work).unfilled.erase(filled->slice);
  } else if (std::holds_alternative<first_grant>(report)) {
    if (!entry->granted_at)
      entry->granted_at = now;
  } else {
    const auto& end = std::get<session_end>(report);
    dropped_ += end.dropped;
    if (end.failure) {
      retry_or_condemn(now, *entry, *end.failure);
    } else {
      entry->succeeded = true;
      retire(*entry);
    }
  }
}

void supervisor::crashed(time_point now, session_key key, const std::string& reason) {
  auto* entry = find(key);
  if (!entry || entry->at != phase::running)
    return;
  retry_or_condemn(
      now, *entry,
      {error{errc::transport_failed,
             fmt::format("the session of request {} crashed: {}", entry->result.request, reason)},
       true});
}

void supervisor::retry_or_condemn(time_point now, record& entry, const attempt_failure& failure) {
  const auto& policy = options_.restarts;
  while (!entry.restarts.empty() && now - entry.restarts.front() > policy.window)
    entry.restarts.pop_front();
  if (!failure.may_retry || refusing_ || entry.restarts.size() >= policy.budget) {
    condemn(entry, failure.reason);
    return;
  }
  const auto doublings = std::min<std::size_t>(entry.restarts.size(), 20);
  const auto backoff = std::min(policy.last_backoff, policy.first_backoff * (1 << doublings));
  // Half of it is jitter, so that many requests that failed together do not come back together.
  std::uniform_int_distribution<std::int64_t> spread{micros(backoff).count() / 2,
                                                     micros(backoff).count()};
  entry.resume_at = now + std::chrono::microseconds{spread(jitter_)};
  if (entry.resume_at >= entry.deadline) {
    condemn(entry, failure.reason);
    return;
  }
  entry.restarts.push_back(now);
  retire(entry);
}

void supervisor::condemn(record& entry, error reason) {
  if (entry.verdict || entry.succeeded)
    return;
  entry.verdict = std::move(reason);
  notify_peers(entry);
  if (entry.at != phase::retiring)
    retire(entry);
}

void supervisor::notify_peers(record& entry) {
  const auto id = entry.result.request;
  if (const auto* work = std::get_if<sending>(&entry.work)) {
    for (const auto& [rank, call] : work->calls)
      refuse(call.peer, id, call.pull(), *entry.verdict);
    return;
  }
  auto& work = std::get<receiving>(entry.work);
  if (!work.route)
    return;
  for (const auto& source : work.route->sources)
    if (!work.progress[source.rank].complete())
      refuse(source.peer, id, work.pull, *entry.verdict);
}

void supervisor::retire(record& entry) {
  entry.at = phase::retiring;
  backend_.dismiss(entry.key);
  backend_.retire(entry.key);
}

void supervisor::retired(time_point now, session_key key) {
  auto* entry = find(key);
  if (!entry || entry->at != phase::retiring)
    return;
  if (entry->succeeded || entry->verdict) {
    conclude(now, records_.find(entry->result.request));
    return;
  }
  entry->at = phase::backing_off;
  due(entry->resume_at);
}

void supervisor::conclude(time_point now, record_map::iterator where) {
  auto entry = std::move(where->second);
  keys_.erase(entry.key);
  records_.erase(where);
  const auto side = side_of(entry);
  auto& result = entry.result;
  result.total = micros(now - entry.begin);
  result.waited = micros(entry.granted_at.value_or(now) - entry.begin);
  if (entry.succeeded) {
    result.session = session_state::fully_transferred;
    result.state = side == instance_role::context ? request_state::context_complete
                                                  : request_state::generation_trans_complete;
  } else {
    result.failure = entry.verdict;
    result.aux.reset();
    result.session =
        entry.verdict->code == errc::cancelled ? session_state::cancelled : session_state::error;
  }
  ended_before_.add(result.request, {result.state, result.failure});
  std::optional<caller_id> caller;
  if (auto* work = std::get_if<receiving>(&entry.work)) {
    for (auto& [rank, report] : work->reports)
      result.sources.push_back(std::move(report));
    caller = work->caller;
  } else {
    --live_sends_;
  }
  if (caller)
    backend_.answer(*caller, std::move(result));
  else
    keep(side, std::move(result));
  for (const auto canceller : entry.cancellers)
    backend_.answer_safe(canceller);
  serve_waiters();
}

void supervisor::keep(instance_role side, outcome result) {
  auto& kept = side == instance_role::context ? unfetched_context_ : unfetched_generation_;
  kept.push_back(std::move(result));
  if (kept.size() > options_.tombstones)
    kept.pop_front();
}

void supervisor::serve_waiters() {
  std::erase_if(waiters_, [&](const ended_waiter& waiter) {
    auto& ended =
        waiter.side == instance_role::context ? unfetched_context_ : unfetched_generation_;
    const auto left = live(waiter.side);
    if (left != 0 && (!waiter.at_least || ended.size() < *waiter.at_least))
      return false;
    backend_.answer_ended(waiter.caller, {std::make_move_iterator(ended.begin()),
                                          std::make_move_iterator(ended.end())});
    ended.clear();
    return true;
  });
}

void supervisor::link_lost(link_loss loss) {
  for (auto& [id, entry] : records_) {
    if (entry.at == phase::running) {
      backend_.tell(entry.key, loss);
      continue;
    }
    const auto* work = std::get_if<sending>(&entry.work);
    if (loss.gone && work)
      for (const auto& [rank, call] : work->calls)
        if (call.peer == loss.peer)
          condemn(entry,
                  {errc::peer_lost, fmt::format("generation rank {} was lost before it had all of "
                                                "request {}; offer the request to another instance",
                                                rank, id)});
  }
  if (!loss.gone)
    return;
  for (auto waiting = early_.begin(); waiting != early_.end();) {
    early_count_ -= std::erase_if(
        waiting->second, [&](const auto& entry) { return entry.second.call.peer == loss.peer; });
    waiting = waiting->second.empty() ? early_.erase(waiting) : std::next(waiting);
  }
}

void supervisor::sweep(time_point now) {
  if (now < next_due_)
    return;
  next_due_ = time_point::max();
  for (auto& [id, entry] : records_) {
    if (entry.verdict || entry.succeeded)
      continue;
    if (now >= entry.deadline) {
      condemn(entry, deadline_error(entry));
    } else if (entry.at == phase::backing_off && now >= entry.resume_at) {
      if (side_of(entry) == instance_role::context)
        begin_send(entry);
      else
        begin_receive(entry);
    }
    if (!entry.verdict) {
      due(entry.deadline);
      if (entry.at == phase::backing_off)
        due(entry.resume_at);
    }
  }
  for (auto waiting = early_.begin(); waiting != early_.end();) {
    early_count_ -= std::erase_if(waiting->second,
                                  [&](const auto& entry) { return now >= entry.second.expires; });
    for (const auto& [rank, call] : waiting->second)
      due(call.expires);
    waiting = waiting->second.empty() ? early_.erase(waiting) : std::next(waiting);
  }
}

error supervisor::deadline_error(const record& entry) const {
  const auto after =
      std::chrono::duration_cast<std::chrono::milliseconds>(entry.deadline - entry.begin);
  const auto id = entry.result.request;
  const auto* work = std::get_if<sending>(&entry.work);
  if (work && !work->unfilled.empty())
    return {errc::timed_out,
            fmt::format("request {}: the GPU event of slice {} was not complete within {} ms", id,
                        *work->unfilled.begin(), after.count())};
  if (work)
    return {errc::timed_out,
            work->calls.empty()
                ? fmt::format("request {}: no generation rank asked for it within {} ms", id,
                              after.count())
                : fmt::format("request {}: its receivers did not finish within {} ms", id,
                              after.count())};
  const auto& wanted = std::get<receiving>(entry.work);
  if (!wanted.route)
    return {errc::timed_out, fmt::format("request {}: context instance {} could not be reached "
                                         "within {} ms",
                                         id, wanted.request.context.endpoint, after.count())};
  std::string silent;
  for (const auto& source : wanted.route->sources) {
    const auto progress = wanted.progress.find(source.rank);
    if (progress == wanted.progress.end() || !progress->second.complete())
      silent += fmt::format("{}{}", silent.empty() ? "" : ", ", source.rank);
  }
  return {
      errc::timed_out,
      fmt::format("request {}: context rank(s) {} did not offer all of it within {} ms{}", id,
                  silent, after.count(),
                  wanted.request.after ? ", or the GPU event of its blocks was not complete" : "")};
}

// -- pieces ---------------------------------------------------------------------------------------

void supervisor::begin_receive(record& entry) {
  assign_key(entry);
  entry.at = phase::routing;
  ++entry.result.attempts;
  backend_.route(entry.key, std::get<receiving>(entry.work).request);
}

void supervisor::begin_send(record& entry) {
  assign_key(entry);
  entry.at = phase::running;
  ++entry.result.attempts;
  const auto& work = std::get<sending>(entry.work);
  backend_.spawn(send_spec{entry.key, work.offer, entry.result.request, work.slices, work.calls,
                           work.receipts});
}

void supervisor::assign_key(record& entry) {
  keys_.erase(entry.key);
  entry.key = next_key();
  keys_.emplace(entry.key, entry.result.request);
}

supervisor::record* supervisor::find(session_key key) {
  const auto id = keys_.find(key);
  return id == keys_.end() ? nullptr : &records_.at(id->second);
}

instance_role supervisor::side_of(const record& entry) noexcept {
  return std::holds_alternative<sending>(entry.work) ? instance_role::context
                                                     : instance_role::generation;
}

std::size_t supervisor::live(instance_role side) const noexcept {
  return side == instance_role::context ? live_sends_ : records_.size() - live_sends_;
}

std::size_t supervisor::waiting_callers() const noexcept {
  std::size_t count = waiters_.size();
  for (const auto& [id, entry] : records_) {
    count += entry.cancellers.size();
    if (const auto* work = std::get_if<receiving>(&entry.work))
      count += work->caller ? 1 : 0;
  }
  return count;
}

void supervisor::due(time_point when) noexcept {
  next_due_ = std::min(next_due_, when);
}

} // namespace baton
