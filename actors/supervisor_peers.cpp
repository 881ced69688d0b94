#include <algorithm>
#include <iterator>

#include "actors/supervisor.hpp"

/// What the supervisor does when peers speak, or are lost.
namespace baton {
namespace {

error handed_over(request_id request) {
  return {errc::unknown_request,
          fmt::format("request {} was handed over completely before", request)};
}

error generation_rank_lost(std::uint32_t rank, request_id request) {
  return {errc::peer_lost, fmt::format("generation rank {} was lost before it had all of request "
                                       "{}; offer the request to another instance",
                                       rank, request)};
}

/// Names the rank that an error comes from, unless it names one: errors travel from rank to rank.
error told_by(std::string_view side, std::uint32_t rank, const error& reason) {
  const auto begins = [&](std::string_view prefix) { return reason.text.rfind(prefix, 0) == 0; };
  if (begins("context rank ") || begins("generation rank "))
    return reason;
  return {reason.code, fmt::format("{} rank {}: {}", side, rank, reason.text)};
}

} // namespace

void supervisor::received(time_point now, incarnation peer, wire_message message) {
  const auto id = request_of(message);
  if (const auto* call = std::get_if<pull_request>(&message)) {
    called(now, id, call->receiver_rank, {peer, *call});
  } else if (const auto* nothing = std::get_if<nothing_to_pull>(&message)) {
    called(now, id, nothing->receiver_rank, {peer, *nothing});
  } else if (const auto* notice = std::get_if<cancel_notice>(&message)) {
    cancelled_by_peer(now, peer, *notice);
  } else if (const auto found = records_.find(id);
             found != records_.end() && found->second.at == phase::running) {
    backend_.tell(found->second.key, peer_message{peer, std::move(message)});
  } else {
    ++dropped_;
  }
}

// -- calls of receivers ----

void supervisor::called(time_point now, request_id request, std::uint32_t receiver,
                        receiver_call call) {
  if (layout_.role != instance_role::context)
    return refuse(call.peer, request, call.pull(),
                  {errc::invalid_argument, "this is a generation rank; ask a context rank"});
  if (const auto found = records_.find(request); found != records_.end())
    return called(now, found->second, receiver, std::move(call));
  if (const auto* ended = ended_before_.find(request))
    return refuse(call.peer, request, call.pull(),
                  ended->failure ? *ended->failure : handed_over(request));
  if (refusal_)
    return refuse(call.peer, request, call.pull(), *refusal_);
  called_early(now, request, receiver, std::move(call));
}

void supervisor::called(time_point now, record& entry, std::uint32_t receiver, receiver_call call) {
  const auto id = entry.result.request;
  auto& work = std::get<sending>(entry.work);
  if (entry.verdict)
    return refuse(call.peer, id, call.pull(), *entry.verdict);
  if (entry.succeeded)
    return refuse(call.peer, id, call.pull(), handed_over(id));
  const auto taken_back = withdrawn_.take(id, call.peer, call.pull());
  // What an earlier call was sent says nothing about a newer one.
  if (const auto old = work.calls.find(receiver);
      old != work.calls.end() && old->second.pull() != call.pull())
    work.receipts.erase(receiver);
  work.calls.insert_or_assign(receiver, call);
  if (taken_back)
    return condemn(entry, told_by("generation", receiver, *taken_back));
  if (entry.at == phase::running)
    std::visit(
        [&](auto& m) {
          backend_.tell(entry.key, peer_message{call.peer, std::move(m)});
        },
        call.message);
  look_for_departed(now, entry);
  look_for_receivers(entry);
}

void supervisor::called_early(time_point now, request_id request, std::uint32_t receiver,
                              receiver_call call) {
  const auto expires = now + std::visit([](const auto& m) { return m.remaining; }, call.message);
  if (auto taken_back = withdrawn_.take(request, call.peer, call.pull()))
    return withdrawn_.add(
        request, {call.peer, call.pull(), told_by("generation", receiver, *taken_back), expires});
  // Whoever asks again, or an instance that asks instead, makes an earlier withdrawal void.
  withdrawn_.forget(request, [&](const auto& item) {
    return item.refuse_offer_until &&
           (item.peer == call.peer || !places_.same_instance(item.peer, call.peer));
  });
  auto& waiting = early_[request];
  if (!waiting.contains(receiver)) {
    if (early_count_ >= options_.early_requests) {
      if (waiting.empty())
        early_.erase(request);
      return refuse(
          call.peer, request, call.pull(),
          {errc::out_of_resources,
           fmt::format("context rank {}: {} pull requests wait for their requests to be "
                       "offered, all that transceiver_options::early_requests allows; ask "
                       "later, or raise it",
                       layout_.rank, early_count_)});
    }
    ++early_count_;
  }
  due(expires);
  // It speaks of an offer of an earlier life, and may be long.
  if (auto* question = std::get_if<pull_request>(&call.message))
    question->have = {};
  waiting.insert_or_assign(receiver, early_call{std::move(call), expires});
}

void supervisor::refuse(incarnation peer, request_id request, pull_id pull, error reason) {
  backend_.send(peer, cancel_notice{request, pull, std::move(reason)});
}

// -- cancels by peers ----

void supervisor::cancelled_by_peer(time_point now, incarnation peer, const cancel_notice& notice) {
  const auto found = records_.find(notice.request);
  if (found == records_.end()) {
    if (layout_.role == instance_role::context && !ended_before_.find(notice.request))
      cancelled_early(now, peer, notice);
    else
      ++dropped_;
    return;
  }
  auto& entry = found->second;
  if (std::holds_alternative<sending>(entry.work)) {
    if (!cancelled_by_receiver(entry, peer, notice))
      ++dropped_;
    return;
  }
  auto& receive = std::get<receiving>(entry.work);
  if (notice.pull == receive.pull && receive.route)
    for (const auto& source : receive.route->sources)
      if (source.peer == peer && !receive.progress[source.rank].complete())
        return condemn(entry, told_by("context", source.rank, notice.reason));
  ++dropped_;
}

bool supervisor::cancelled_by_receiver(record& entry, incarnation peer,
                                       const cancel_notice& notice) {
  auto& work = std::get<sending>(entry.work);
  bool may_end = true;
  for (const auto& [rank, call] : work.calls) {
    if (call.peer != peer) {
      // Another instance may have taken the request over.
      may_end = may_end && places_.same_instance(call.peer, peer);
      continue;
    }
    const bool has_read =
        std::holds_alternative<pull_request>(call.message) && has_all(work, rank, call);
    may_end = may_end && !has_read;
    if (notice.unasked ? !has_read : call.pull() == notice.pull) {
      condemn(entry, told_by("generation", rank, notice.reason));
      return true;
    }
  }
  if (notice.unasked) {
    if (may_end)
      condemn(entry, notice.reason);
    return may_end;
  }
  withdrawn_.add(entry.result.request, {peer, notice.pull, notice.reason, std::nullopt});
  return false;
}

void supervisor::cancelled_early(time_point now, incarnation peer, const cancel_notice& notice) {
  const auto id = notice.request;
  if (notice.unasked)
    return withdrawn_.add(id, {peer, notice.pull, notice.reason, now + default_timeout});
  if (const auto waiting = early_.find(id); waiting != early_.end())
    for (const auto& [rank, early] : waiting->second)
      if (early.call.peer == peer && early.call.pull() == notice.pull) {
        withdrawn_.add(id, {peer, notice.pull, told_by("generation", rank, notice.reason),
                            std::max(early.expires, now + default_timeout)});
        waiting->second.erase(rank);
        --early_count_;
        if (waiting->second.empty())
          early_.erase(waiting);
        return;
      }
  withdrawn_.add(id, {peer, notice.pull, notice.reason, std::nullopt});
}

bool supervisor::gave_up_waiting(time_point now, request_id request, std::uint32_t receiver,
                                 const early_call& early) {
  if (now < early.expires)
    return false;
  withdrawn_.add(
      request, {early.call.peer,
                early.call.pull(),
                {errc::timed_out, fmt::format("generation rank {} waited for request {} up to its "
                                              "deadline; compute it sooner or ask for longer",
                                              receiver, request)},
                now + default_timeout});
  return true;
}

// -- lost peers ----

void supervisor::link_lost(time_point now, const link_loss& loss) {
  if (loss.gone)
    places_.remove(now, loss.peer);
  for (auto& [id, entry] : records_) {
    if (entry.at == phase::running)
      backend_.tell(entry.key, loss);
    auto* work = std::get_if<sending>(&entry.work);
    if (!loss.gone || !work)
      continue;
    for (auto& [rank, call] : work->calls)
      call.gone = call.gone || call.peer == loss.peer;
    // While a session runs it knows best what was acknowledged.
    if (entry.at != phase::running)
      for (const auto& [rank, call] : work->calls)
        if (call.peer == loss.peer && !has_all(*work, rank, call)) {
          condemn(entry, generation_rank_lost(rank, id));
          break;
        }
    look_for_departed(now, entry);
  }
  if (loss.gone)
    for (auto waiting = early_.begin(); waiting != early_.end();) {
      const auto id = waiting->first;
      early_count_ -= std::erase_if(waiting->second, [&](const auto& item) {
        const auto& [rank, early] = item;
        if (early.call.peer != loss.peer)
          return false;
        withdrawn_.add(
            id, {loss.peer, early.call.pull(), generation_rank_lost(rank, id), early.expires});
        return true;
      });
      waiting = waiting->second.empty() ? early_.erase(waiting) : std::next(waiting);
    }
}

void supervisor::resume(record& entry) {
  const auto* work = std::get_if<sending>(&entry.work);
  if (!work)
    return begin_receive(entry);
  for (const auto& [rank, call] : work->calls)
    if (call.gone && !has_all(*work, rank, call))
      return condemn(entry, generation_rank_lost(rank, entry.result.request));
  begin_send(entry);
}

void supervisor::look_for_departed(time_point now, record& entry) {
  if (!places_.any_departed())
    return;
  const auto& work = std::get<sending>(entry.work);
  for (const auto& [receiver, call] : work.calls)
    if (const auto rank =
            places_.missing(now, entry.begin, call.peer, receiver,
                            [&](std::uint32_t lost) { return work.calls.contains(lost); }))
      return condemn(entry, generation_rank_lost(*rank, entry.result.request));
  if (const auto decision = places_.decision(entry.begin); decision && now < *decision)
    due(*decision);
}

bool supervisor::has_all(const sending& work, std::uint32_t receiver, const receiver_call& call) {
  const auto* request = std::get_if<pull_request>(&call.message);
  if (!request)
    return true;
  if (work.slices.empty() || !work.slices.back().last)
    return false;
  std::set<std::uint32_t> done;
  if (const auto receipts = work.receipts.find(receiver); receipts != work.receipts.end())
    done = receipts->second;
  if (request->have_offer == work.offer)
    done.insert(request->have.begin(), request->have.end());
  return done.size() == work.slices.size();
}

} // namespace baton
