#include "actors/supervisor.hpp"

#include <algorithm>
#include <iterator>

namespace baton {
namespace {

template <class Duration>
std::chrono::microseconds micros(Duration span) {
  return std::chrono::duration_cast<std::chrono::microseconds>(span);
}

} // namespace

supervisor::supervisor(rank_layout layout, transceiver_options options, supervisor_backend& backend,
                       std::uint64_t seed)
    : layout_{std::move(layout)},
      layers_{layers_of(layout_)},
      options_{std::move(options)},
      backend_{backend},
      ended_before_{options_.tombstones},
      withdrawn_{options_.tombstones},
      places_{options_.peer_grace},
      jitter_{seed} {
}

// -- calls of the engine ----

expected<> supervisor::admit(request_id request, instance_role side) const {
  // Later slices of a live request still come while a shutdown drains.
  if (refusal_ && !records_.contains(request))
    return fail(refusal_->code, "request {}: {}", request, refusal_->text);
  if (layout_.role != side)
    return fail(errc::invalid_argument, "request {}: this is a {} rank, the call is for a {} rank",
                request, to_string(layout_.role), to_string(side));
  return {};
}

expected<supervisor::record> supervisor::open(time_point now, request_id request,
                                              std::chrono::milliseconds timeout) {
  if (records_.size() >= options_.live_requests)
    return fail(
        errc::out_of_resources,
        "request {}: {} requests are in flight on {} rank {}, all that "
        "transceiver_options::live_requests allows; wait until some have ended, or raise it",
        request, records_.size(), to_string(layout_.role), layout_.rank);
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
  const auto found = records_.find(slice.request);
  return found == records_.end() ? open_send(now, std::move(slice))
                                 : append(now, found->second, std::move(slice));
}

expected<> supervisor::append(time_point now, record& entry, send_slice slice) {
  const auto id = slice.request;
  auto& work = std::get<sending>(entry.work);
  const bool first = work.slices.empty();
  if (!first && work.slices.back().last)
    return fail(errc::duplicate_request,
                "request {} is alive and its last slice was offered; wait for its end", id);
  if (entry.verdict)
    return fail(*entry.verdict);
  if (auto ok = add_slice(work, slice); !ok)
    return ok;
  if (first) {
    number(entry);
    entry.deadline = now + slice.timeout;
    due(entry.deadline);
  }
  if (entry.at == phase::running)
    backend_.tell(entry.key, std::move(slice));
  return {};
}

expected<> supervisor::add_slice(sending& work, const send_slice& slice) const {
  const bool first = work.slices.empty();
  if (auto ok = first ? check_first(slice) : expected<>{}; !ok)
    return ok;
  if (first)
    work.offered = layer_cover{layers_};
  if (auto ok = check_next(work.offered, slice); !ok)
    return ok;
  if (work.slices.size() >= wire_limits::slices)
    return fail(errc::invalid_argument, "request {}: more than {} slices; offer larger ones",
                slice.request, wire_limits::slices);
  if (slice.after)
    work.unfilled.insert(static_cast<std::uint32_t>(work.slices.size()));
  work.offered.add(slice.layers, slice.tokens);
  work.slices.push_back(slice);
  return {};
}

expected<> supervisor::open_send(time_point now, send_slice slice) {
  const auto id = slice.request;
  if (auto ok = check_first(slice); !ok) {
    // The engine may still be computing chunks of a request that has ended meanwhile.
    const auto* ended = ended_before_.find(id);
    return ended && ended->failure ? fail(*ended->failure) : ok;
  }
  if (auto refusal = ended_before_.take_refusal(id))
    return fail(std::move(*refusal));
  auto made = open(now, id, slice.timeout);
  if (!made)
    return fail(made.error());
  sending work;
  if (auto ok = add_slice(work, slice); !ok)
    return ok;
  start_send(now, std::move(*made), std::move(work));
  return {};
}

void supervisor::start_send(time_point now, record made, sending work) {
  const auto id = made.result.request;
  work.offer = random_id<offer_id>();
  if (auto waiting = early_.extract(id)) {
    early_count_ -= waiting.mapped().size();
    for (auto& [rank, call] : waiting.mapped())
      work.calls.emplace(rank, std::move(call.call));
  }
  const bool prepared = work.slices.empty();
  made.work = std::move(work);
  ++live_sends_;
  ++unnumbered_;
  auto& entry = records_.emplace(id, std::move(made)).first->second;
  if (!prepared)
    number(entry);
  begin_send(entry);
  if (auto refusal = withdrawn_.refusal(id, now))
    condemn(entry, std::move(*refusal));
  withdrawn_.forget(id, [](const auto& item) { return item.refuse_offer_until.has_value(); });
  look_for_departed(now, entry);
  look_for_receivers(entry);
}

expected<> supervisor::prepare(time_point now, const context_request& request) {
  const auto id = request.request;
  if (auto ok = admit(id, instance_role::context); !ok)
    return ok;
  if (auto ok = check(request); !ok)
    return ok;
  if (records_.contains(id))
    return fail(errc::duplicate_request, "request {} is alive on this rank already; it goes on",
                id);
  auto made = open(now, id, request.timeout);
  if (!made)
    return fail(made.error());
  if (auto refusal = ended_before_.take_refusal(id, true))
    return fail(std::move(*refusal));
  start_send(now, std::move(*made), {});
  return {};
}

std::vector<request_id> supervisor::take_ready() {
  std::vector<request_id> ready;
  for (const auto id : std::exchange(ready_, {})) {
    const auto found = records_.find(id);
    if (found == records_.end() || found->second.verdict ||
        state_of(found->second) != request_state::context_init)
      continue;
    // An id that was used again meanwhile may stand here twice.
    if (!std::exchange(std::get<sending>(found->second.work).announced, true))
      ready.push_back(id);
  }
  return ready;
}

std::vector<released_slice> supervisor::take_released() {
  std::vector<released_slice> released;
  for (const auto id : std::exchange(released_, {})) {
    const auto found = records_.find(id);
    auto* work = found == records_.end() ? nullptr : std::get_if<sending>(&found->second.work);
    if (!work)
      continue;
    for (const auto slice : std::exchange(work->unreported, {}))
      released.push_back({id, slice});
  }
  return released;
}

void supervisor::look_for_receivers(record& entry) {
  auto& work = std::get<sending>(entry.work);
  if (work.ready || !work.slices.empty() || work.calls.empty() || entry.verdict)
    return;
  for (const auto& [rank, call] : work.calls)
    if (const auto* request = std::get_if<pull_request>(&call.message);
        request && work.calls.size() < request->receivers)
      return;
  work.ready = true;
  ready_.push_back(entry.result.request);
}

void supervisor::number(record& entry) noexcept {
  if (entry.number != 0)
    return;
  entry.number = ++last_number_;
  if (side_of(entry) == instance_role::context)
    --unnumbered_;
}

expected<> supervisor::receive(time_point now, receive_request request,
                               std::optional<caller_id> caller) {
  if (auto ok = admit(request.request, instance_role::generation); !ok)
    return ok;
  const auto id = request.request;
  if (records_.contains(id))
    return fail(errc::duplicate_request, "request {} is being received already; it goes on", id);
  if (auto refusal = ended_before_.take_refusal(id))
    return fail(std::move(*refusal));
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
  number(*entry);
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
          {errc::cancelled, fmt::format("request {} was cancelled by the engine of {} rank {}",
                                        request, to_string(layout_.role), layout_.rank)});
}

void supervisor::await_ended(time_point now, instance_role side,
                             std::optional<std::size_t> at_least, caller_id caller) {
  auto open = live(side);
  if (side == instance_role::context)
    open -= unnumbered_;
  ended_waiter waiter{side, at_least, caller, last_number_, open, now};
  if (!satisfied(now, waiter)) {
    for (const auto& [id, entry] : records_)
      if (side_of(entry) == side && entry.number != 0)
        waiter.give_up = std::max(waiter.give_up, entry.deadline + options_.clean_up);
    due(waiter.give_up + std::chrono::microseconds{1});
  }
  waiters_.push_back(waiter);
  serve_waiters(now);
}

std::vector<ended_request> supervisor::take_ended(instance_role side) {
  auto ended = std::exchange(unfetched(side), {});
  return {std::make_move_iterator(ended.begin()), std::make_move_iterator(ended.end())};
}

census supervisor::count_live(time_point now, instance_role side) const {
  census count{0, last_number_, now};
  for (const auto& [id, entry] : records_) {
    const auto* work = std::get_if<receiving>(&entry.work);
    if (side_of(entry) != side || entry.number == 0 || (work && work->caller))
      continue;
    ++count.open;
    count.give_up = std::max(count.give_up, entry.deadline + options_.clean_up);
  }
  return count;
}

bool supervisor::abandon(request_id request, const error& reason) {
  const auto found = records_.find(request);
  if (found == records_.end()) {
    if (!ended_before_.find(request))
      ended_before_.add(request, {request_state::trans_error, reason, true, true});
    return false;
  }
  const auto* work = std::get_if<receiving>(&found->second.work);
  const bool kept = !work || !work->caller;
  condemn(found->second, reason);
  return kept;
}

time_point supervisor::deadline_of(time_point now, request_id request) const {
  const auto found = records_.find(request);
  return found == records_.end() ? now : found->second.deadline;
}

std::optional<request_state> supervisor::state_of(request_id request) const {
  if (const auto found = records_.find(request); found != records_.end())
    return state_of(found->second);
  if (const auto* ended = ended_before_.find(request))
    return ended->state;
  return std::nullopt;
}

void supervisor::refuse_new() {
  if (!refusal_)
    refusal_ = error{errc::shutting_down, fmt::format("{} rank {} is shutting down",
                                                      to_string(layout_.role), layout_.rank)};
}

void supervisor::break_down(const error& reason) {
  const auto name = fmt::format("{} rank {}", to_string(layout_.role), layout_.rank);
  refusal_ =
      error{reason.code, fmt::format("{} has failed, start it again: {}", name, reason.text)};
  for (auto& [id, entry] : records_)
    condemn(entry, *refusal_);
  for (const auto& [id, waiting] : std::exchange(early_, {}))
    for (const auto& [rank, early] : waiting)
      refuse(early.call.peer, id, early.call.pull(), *refusal_);
  early_count_ = 0;
}

void supervisor::cancel_all() {
  for (auto& [id, entry] : records_)
    condemn(entry,
            {errc::shutting_down, fmt::format("request {} was alive when {} rank {} shut down", id,
                                              to_string(layout_.role), layout_.rank)});
}

// -- events ----

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
  entry->asked = true;
  work.pull = random_id<pull_id>();
  for (const auto& source : route->sources) {
    // Slices are numbered by one life of a source; those of an earlier life say nothing about this
    // one.
    if (before && std::none_of(before->sources.begin(), before->sources.end(),
                               [&](const auto& old) { return old.peer == source.peer; }))
      work.progress.erase(source.rank);
    auto& report = work.reports[source.rank];
    report.rank = source.rank;
    report.lane = source.lane;
  }
  entry->at = phase::running;
  backend_.spawn(receive_spec{key, work.pull, layout_.rank, work.request, work.wants,
                              std::move(*route), work.progress, entry->deadline});
  // What did not serve once is not tried again.
  work.request.context.ticket.reset();
}

void supervisor::reported(time_point now, session_key key, session_report report) {
  auto* entry = find(key);
  if (!entry || entry->at != phase::running)
    return;
  if (auto* validated = std::get_if<slice_validated>(&report)) {
    auto& work = std::get<receiving>(entry->work);
    auto& progress = work.progress[validated->source];
    if (progress.offer != validated->offer)
      progress = {validated->offer, {}, std::nullopt};
    progress.slices[validated->slice] = std::move(validated->ranges);
    if (validated->last)
      progress.last = validated->slice;
    if (validated->aux)
      entry->result.aux = std::move(validated->aux);
    auto& source = work.reports[validated->source];
    source.bytes += validated->stats.bytes;
    source.ticket = std::max(source.ticket, validated->ticket);
    entry->result.bytes += validated->stats.bytes;
    entry->result.fragments += validated->stats.fragments;
    entry->result.templates += validated->stats.templates;
    entry->result.pulling = micros(now - entry->granted_at.value_or(now));
  } else if (const auto* receipt = std::get_if<slice_receipt>(&report)) {
    // A newer call of the receiver says itself what it has.
    auto& work = std::get<sending>(entry->work);
    if (const auto call = work.calls.find(receipt->receiver);
        call != work.calls.end() && call->second.pull() == receipt->pull)
      work.receipts[receipt->receiver].insert(receipt->slice);
  } else if (const auto* released = std::get_if<slice_released>(&report)) {
    auto& work = std::get<sending>(entry->work);
    if (work.released.insert(released->slice).second) {
      if (work.unreported.empty())
        released_.push_back(entry->result.request);
      work.unreported.push_back(released->slice);
    }
  } else if (const auto* filled = std::get_if<slice_filled>(&report)) {
    std::get<sending>(entry->work).unfilled.erase(filled->slice);
  } else if (const auto* made = std::get_if<ticket_made>(&report)) {
    std::get<sending>(entry->work).ticket = made->ticket;
    answer_ticket(entry->result.request, made->ticket);
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
  // Nobody knows how far it came.
  entry->asked = false;
  retry_or_condemn(
      now, *entry,
      {error{errc::transport_failed,
             fmt::format("the session of request {} crashed: {}", entry->result.request, reason)},
       true});
}

void supervisor::retry_or_condemn(time_point now, record& entry, const attempt_failure& failure) {
  const auto& policy = options_.restarts;
  entry.last_failure = failure.reason;
  while (!entry.restarts.empty() && now - entry.restarts.front() > policy.window)
    entry.restarts.pop_front();
  if (!failure.may_retry || refusal_ || entry.restarts.size() >= policy.budget) {
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
  number(entry);
  notify_peers(entry);
  withdraw(entry);
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

void supervisor::withdraw(const record& entry) {
  const auto* work = std::get_if<receiving>(&entry.work);
  if (work && !entry.asked)
    backend_.withdraw(entry.key, work->request,
                      {entry.result.request, random_id<pull_id>(), *entry.verdict, true});
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
  // Once more: only now nothing of the session can follow, and what it sent may have been
  // overtaken by the first notice.
  if (where->second.verdict && side_of(where->second) == instance_role::generation)
    notify_peers(where->second);
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
  const auto* work = std::get_if<sending>(&entry.work);
  ended_before_.add(result.request, {result.state, result.failure, work && work->slices.empty()});
  answer_ticket(result.request, nullptr);
  std::optional<caller_id> caller;
  if (auto* receive = std::get_if<receiving>(&entry.work)) {
    for (auto& [rank, report] : receive->reports)
      result.sources.push_back(std::move(report));
    caller = receive->caller;
  } else {
    --live_sends_;
  }
  if (caller)
    backend_.answer(*caller, std::move(result));
  else
    keep(side, {std::move(result), entry.deadline, entry.number});
  for (const auto canceller : entry.cancellers)
    backend_.answer_safe(canceller);
  for (auto& waiter : waiters_)
    if (waiter.side == side && entry.number <= waiter.last_number)
      --waiter.open;
  serve_waiters(now);
}

void supervisor::keep(instance_role side, ended_request ended) {
  auto& kept = unfetched(side);
  kept.push_back(std::move(ended));
  if (kept.size() > std::max(options_.tombstones, options_.live_requests)) {
    kept.pop_front();
    ++lost_outcomes_;
  }
}

bool supervisor::satisfied(time_point now, const ended_waiter& waiter) const {
  const auto& ended =
      waiter.side == instance_role::context ? unfetched_context_ : unfetched_generation_;
  return waiter.open == 0 || now > waiter.give_up ||
         (waiter.at_least && ended.size() >= *waiter.at_least);
}

void supervisor::serve_waiters(time_point now) {
  std::erase_if(waiters_, [&](const ended_waiter& waiter) {
    if (!satisfied(now, waiter))
      return false;
    std::vector<outcome> results;
    for (auto& ended : take_ended(waiter.side))
      results.push_back(std::move(ended.result));
    backend_.answer_ended(waiter.caller, std::move(results));
    return true;
  });
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
      resume(entry);
    }
    if (!entry.verdict && side_of(entry) == instance_role::context && places_.decision(entry.begin))
      look_for_departed(now, entry);
    if (!entry.verdict) {
      due(entry.deadline);
      if (entry.at == phase::backing_off)
        due(entry.resume_at);
    }
  }
  for (auto waiting = early_.begin(); waiting != early_.end();) {
    early_count_ -= std::erase_if(waiting->second, [&](const auto& item) {
      return gave_up_waiting(now, waiting->first, item.first, item.second);
    });
    for (const auto& [rank, call] : waiting->second)
      due(call.expires);
    waiting = waiting->second.empty() ? early_.erase(waiting) : std::next(waiting);
  }
  look_for_late_tickets(now);
  serve_waiters(now);
  for (const auto& waiter : waiters_)
    due(waiter.give_up + std::chrono::microseconds{1});
}

error supervisor::deadline_error(const record& entry) const {
  const auto after =
      std::chrono::duration_cast<std::chrono::milliseconds>(entry.deadline - entry.begin);
  const auto* work = std::get_if<sending>(&entry.work);
  const auto why = work ? unfinished(*work) : unfinished(entry, std::get<receiving>(entry.work));
  return {errc::timed_out,
          fmt::format("request {}: after {} ms {}", entry.result.request, after.count(), why)};
}

std::string supervisor::unfinished(const sending& work) const {
  if (!work.unfilled.empty())
    return fmt::format("the GPU event of slice {} was not complete", *work.unfilled.begin());
  if (work.slices.empty() && work.ready)
    return "its first slice had not been offered, though the generation side had asked for it; "
           "compute it sooner or prepare it for longer";
  if (!work.slices.empty() && !work.slices.back().last)
    return fmt::format(
        "its slices ended at token {}{}; offer the rest, up to the last slice, sooner",
        work.offered.least().token,
        work.offered.even() ? "" : fmt::format(" of layer {}", work.offered.least().layer));
  if (work.calls.empty())
    return "no generation rank had asked for it";
  std::uint32_t expected = 0;
  std::string slow;
  for (const auto& [rank, call] : work.calls) {
    if (const auto* request = std::get_if<pull_request>(&call.message))
      expected = request->receivers;
    if (!work.slices.empty() && !has_all(work, rank, call))
      slow += fmt::format("{}{}", slow.empty() ? "" : ", ", rank);
  }
  if (!slow.empty())
    return fmt::format("generation rank(s) {} had not read all of it", slow);
  return fmt::format("only {} of {} generation ranks had asked for it", work.calls.size(),
                     expected);
}

std::string supervisor::unfinished(const record& entry, const receiving& work) const {
  if (entry.at == phase::routing)
    return backend_.waits_for(entry.key);
  if (entry.at != phase::running)
    return fmt::format("no attempt had succeeded, the last one ended as {}",
                       entry.last_failure ? to_string(*entry.last_failure) : "unknown");
  std::string slow;
  for (const auto& source : work.route->sources) {
    const auto progress = work.progress.find(source.rank);
    if (progress == work.progress.end() || !progress->second.complete())
      slow += fmt::format("{}{}", slow.empty() ? "" : ", ", source.rank);
  }
  return fmt::format("context rank(s) {} had not offered all of it, or not all was read{}", slow,
                     work.request.after ? "; or the GPU event of its blocks was not complete" : "");
}

// -- pieces ----

void supervisor::begin_receive(record& entry) {
  assign_key(entry);
  entry.at = phase::routing;
  ++entry.result.attempts;
  entry.asked = false;
  backend_.route(entry.key, std::get<receiving>(entry.work).request);
}

void supervisor::begin_send(record& entry) {
  assign_key(entry);
  entry.at = phase::running;
  ++entry.result.attempts;
  auto& work = std::get<sending>(entry.work);
  work.ticket.reset();
  std::vector<std::string> states;
  for (const auto& group : layout_.groups)
    if (group.is_state())
      states.push_back(group.name);
  backend_.spawn(send_spec{entry.key, work.offer, entry.result.request, work.slices, work.calls,
                           work.receipts, std::move(states), layout_.rank, work.released});
  if (ticket_askers_.contains(entry.result.request))
    backend_.tell(entry.key, ticket_wanted{});
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

request_state supervisor::state_of(const record& entry) noexcept {
  const auto* work = std::get_if<sending>(&entry.work);
  if (!work)
    return request_state::generation_trans_in_progress;
  if (!work->slices.empty())
    return request_state::context_trans_in_progress;
  return work->ready ? request_state::context_init : request_state::context_wait_scheduler;
}

instance_role supervisor::side_of(const record& entry) noexcept {
  return std::holds_alternative<sending>(entry.work) ? instance_role::context
                                                     : instance_role::generation;
}

std::size_t supervisor::live(instance_role side) const noexcept {
  return side == instance_role::context ? live_sends_ : records_.size() - live_sends_;
}

std::size_t supervisor::waiting_callers() const noexcept {
  std::size_t count = waiters_.size() + ticket_askers_.size();
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
