#include "actors/agreement_member.hpp"

#include <algorithm>
#include <utility>

namespace baton {
namespace {

// Requests that were reported without the others and are remembered.
constexpr std::size_t most_alone = 16'384;

// A vote without an answer is sent again after this part of the patience, in case it was lost.
constexpr int again_after = 2;

std::chrono::milliseconds millis(time_point::duration span) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(span);
}

outcome failed(outcome result, const error& reason) {
  result.state = request_state::trans_error;
  result.session = reason.code == errc::cancelled ? session_state::cancelled : session_state::error;
  result.failure = reason;
  result.aux.reset();
  return result;
}

} // namespace

agreement_member::agreement_member(incarnation life, std::uint32_t rank,
                                   const transceiver_options& options, agreement_backend& backend)
    : life_{life},
      rank_{rank},
      options_{options.agreement},
      clean_up_{options.clean_up},
      overdue_{2 * agreement_margin(options)},
      backend_{backend} {
}

// -- calls ----

void agreement_member::check(time_point now, std::optional<std::size_t> at_least,
                             const census& live, caller_id caller) {
  call wish{caller, at_least, live, now, {}};
  if (at_least != 0u)
    wish.gives_up = std::max(now, live.give_up);
  open(now, agreement_topic::ended, wish);
}

void agreement_member::prepare(time_point now, caller_id caller) {
  open(now, agreement_topic::ready, {caller, 0, {}, now, {}});
}

void agreement_member::open(time_point now, agreement_topic topic, call wish) {
  auto& state = topics_[index_of(topic)];
  state.calls.push_back(wish);
  if (state.calls.size() == 1)
    begin(now, topic);
}

void agreement_member::begin(time_point now, agreement_topic topic) {
  auto& state = topics_[index_of(topic)];
  auto& wish = state.calls.front();
  ++state.round;
  state.decided = false;
  // Calls that had to wait for one before have their time from now on.
  wish.gives_up = std::max(wish.gives_up, now);
  wish.until = wish.gives_up + options_.patience + options_.directory;
  if (link_ == link::lost)
    close_alone(now, topic);
  else if (link_ == link::up)
    vote(now, topic);
}

void agreement_member::vote(time_point now, agreement_topic topic) {
  auto& state = topics_[index_of(topic)];
  const auto& wish = state.calls.front();
  agreement_vote vote;
  vote.life = life_;
  vote.rank = rank_;
  vote.topic = topic;
  vote.round = state.round;
  vote.seen = state.seen;
  vote.attempt = ++attempt_;
  vote.at_least =
      wish.at_least
          ? static_cast<std::uint32_t>(std::min<std::size_t>(*wish.at_least, agreement_vote::all))
          : agreement_vote::all;
  vote.open = wish.live.open != 0;
  vote.remaining = std::max(millis(wish.gives_up - now), std::chrono::milliseconds{0});
  const auto tell = [&](request_id request, note& known, const std::optional<error>& failure) {
    const bool heard = known.told != 0 && known.told <= state.heard;
    if (heard || vote.items.size() == agreement_limits::items)
      return;
    if (known.told == 0)
      known.told = attempt_;
    const auto remaining = std::max(millis(known.deadline - now), std::chrono::milliseconds{0});
    vote.items.push_back({request, failure, remaining});
  };
  if (topic == agreement_topic::ended)
    for (auto& [id, kept] : pool_)
      tell(id, kept.known, kept.end.result.failure);
  else
    for (auto& [id, known] : ready_)
      tell(id, known, std::nullopt);
  state.sent = now;
  state.news = false;
  backend_.vote(vote);
}

// -- events ----

void agreement_member::ended(time_point now, ended_request request) {
  auto& state = topics_[index_of(agreement_topic::ended)];
  const auto id = request.result.request;
  ready_.erase(id);
  for (auto& wish : state.calls)
    if (request.number <= wish.live.last_number && wish.live.open != 0)
      --wish.live.open;
  state.news = true;
  if (const auto reason = failed_elsewhere_.extract(id)) {
    state.ending.erase(id);
    auto result = failed(std::move(request.result), reason.mapped());
    result.agreed = true;
    state.ended.push_back(std::move(result));
    return close_if_done(now, agreement_topic::ended);
  }
  pool_.insert_or_assign(id, kept_end{{request.deadline}, std::move(request)});
}

void agreement_member::flush(time_point now) {
  // A call that does not wait tells it the next time.
  const auto& state = topics_[index_of(agreement_topic::ended)];
  if (state.news && link_ == link::up && !state.calls.empty() && !state.decided &&
      state.calls.front().at_least != 0u)
    vote(now, agreement_topic::ended);
}

void agreement_member::ready(request_id request, time_point deadline) {
  ready_.insert_or_assign(request, note{deadline});
}

void agreement_member::received(time_point now, agreement_verdict verdict) {
  auto& state = topics_[index_of(verdict.topic)];
  state.heard = std::max(state.heard, verdict.attempt);
  // One of a call that was answered without it is asked for again with the next vote.
  if (state.calls.empty() || state.decided || verdict.round != state.round)
    return;
  state.decided = true;
  state.seen = verdict.seen;
  for (const auto& item : verdict.items)
    if (verdict.topic == agreement_topic::ended)
      take_ended(now, item);
    else
      take_ready(item);
  // What ends here because of it is waited for.
  state.calls.front().until = now + clean_up_;
  close_if_done(now, verdict.topic);
}

void agreement_member::take_ended(time_point, const agreement_item& item) {
  auto& state = topics_[index_of(agreement_topic::ended)];
  if (auto kept = pool_.extract(item.request)) {
    auto result = std::move(kept.mapped().end.result);
    if (item.failure)
      result = failed(std::move(result), *item.failure);
    result.agreed = true;
    state.ended.push_back(std::move(result));
    return;
  }
  if (alone_.erase(item.request) != 0 || !item.failure)
    return;
  if (backend_.abandon(item.request, *item.failure)) {
    failed_elsewhere_.emplace(item.request, *item.failure);
    state.ending.insert(item.request);
    return;
  }
  outcome unknown;
  unknown.request = item.request;
  unknown = failed(std::move(unknown), *item.failure);
  unknown.agreed = true;
  state.ended.push_back(std::move(unknown));
}

void agreement_member::take_ready(const agreement_item& item) {
  ready_.erase(item.request);
  topics_[index_of(agreement_topic::ready)].ready.push_back(item.request);
}

void agreement_member::close_if_done(time_point now, agreement_topic topic) {
  const auto& state = topics_[index_of(topic)];
  if (!state.calls.empty() && state.decided && state.ending.empty())
    close(now, topic);
}

void agreement_member::close(time_point now, agreement_topic topic) {
  auto& state = topics_[index_of(topic)];
  const auto caller = state.calls.front().caller;
  state.calls.pop_front();
  state.ending.clear();
  if (topic == agreement_topic::ready) {
    backend_.answer_ready(caller, std::exchange(state.ready, {}));
  } else {
    drop_overdue(now);
    auto ended = std::exchange(state.ended, {});
    // All ranks return them in one order.
    std::sort(ended.begin(), ended.end(),
              [](const outcome& a, const outcome& b) { return a.request < b.request; });
    backend_.answer_ended(caller, std::move(ended));
  }
  if (!state.calls.empty())
    begin(now, topic);
}

void agreement_member::close_alone(time_point now, agreement_topic topic) {
  if (topic == agreement_topic::ended)
    for (auto& [id, kept] : std::exchange(pool_, {}))
      report_alone(std::move(kept));
  close(now, topic);
}

void agreement_member::drop_overdue(time_point now) {
  for (auto at = pool_.begin(); at != pool_.end();)
    if (now >= at->second.known.deadline + overdue_) {
      report_alone(std::move(at->second));
      at = pool_.erase(at);
    } else {
      ++at;
    }
}

void agreement_member::report_alone(kept_end kept) {
  const auto id = kept.end.result.request;
  topics_[index_of(agreement_topic::ended)].ended.push_back(std::move(kept.end.result));
  if (!alone_.insert(id).second)
    return;
  alone_order_.push_back(id);
  if (alone_order_.size() > most_alone) {
    alone_.erase(alone_order_.front());
    alone_order_.pop_front();
  }
}

void agreement_member::connected(time_point now) {
  link_ = link::up;
  for (auto& state : topics_)
    state.heard = state.seen = 0;
  for (auto& [id, kept] : pool_)
    kept.known.told = 0;
  for (auto& [id, known] : ready_)
    known.told = 0;
  for (const auto topic : agreement_topics)
    if (const auto& state = topics_[index_of(topic)]; !state.calls.empty() && !state.decided)
      vote(now, topic);
}

void agreement_member::disconnected(time_point now) {
  link_ = link::lost;
  for (const auto topic : agreement_topics)
    while (!topics_[index_of(topic)].calls.empty() && !topics_[index_of(topic)].decided)
      close_alone(now, topic);
}

void agreement_member::sweep(time_point now) {
  for (const auto topic : agreement_topics) {
    auto& state = topics_[index_of(topic)];
    if (state.calls.empty())
      continue;
    if (now >= state.calls.front().until)
      state.decided ? close(now, topic) : close_alone(now, topic);
    else if (link_ == link::up && !state.decided &&
             now - state.sent >= options_.patience / again_after)
      vote(now, topic);
  }
}

std::vector<outcome> agreement_member::take_kept() {
  std::vector<outcome> kept;
  for (auto& [id, end] : std::exchange(pool_, {}))
    kept.push_back(std::move(end.end.result));
  return kept;
}

bool agreement_member::waiting() const noexcept {
  return std::any_of(topics_.begin(), topics_.end(),
                     [](const topic_state& state) { return !state.calls.empty(); });
}

} // namespace baton
