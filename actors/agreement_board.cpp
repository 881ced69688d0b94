#include "actors/agreement_board.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include <fmt/ranges.h>

namespace baton {
namespace {

// Verdicts that are kept for ranks that have not asked for them.
constexpr std::size_t most_verdicts = 4'096;

// Calls that a rank may be behind and still get them answered one by one: ranks that step together
// are never further apart, and must stay call by call alike even if one of them stalls.
constexpr std::uint64_t most_behind = 8;

// Later than all rounds.
constexpr auto undecided = std::numeric_limits<std::uint64_t>::max();

error rank_lost(std::uint32_t rank, request_id request) {
  return {errc::peer_lost,
          fmt::format("rank {} of this instance was lost before it had request {}", rank, request)};
}

} // namespace

agreement_board::agreement_board(const std::vector<std::uint32_t>& ranks,
                                 std::chrono::milliseconds patience,
                                 std::chrono::milliseconds margin)
    : patience_{patience}, margin_{margin} {
  for (const auto rank : ranks)
    members_.try_emplace(rank);
}

// -- what ranks say ----

void agreement_board::vote(time_point now, agreement_vote vote) {
  const auto found = members_.find(vote.rank);
  if (found == members_.end())
    return;
  auto& who = found->second;
  if (who.life != vote.life)
    join(now, vote.rank, who, vote.life);
  auto& topic = who.topics[index_of(vote.topic)];
  if (!topic.joined)
    join(vote.topic, who, vote.round);
  const auto over = topics_[index_of(vote.topic)].next - 1;
  auto round = vote.round + topic.offset;
  if (round < topic.voted || (topic.waiting && topic.waiting->attempt > vote.attempt))
    return; // a newer one has overtaken it
  who.lost = false;
  topic.late = false;
  const bool again = topic.waiting && topic.waiting->round == round;
  const auto begin = again ? topic.waiting->begin : now;
  if (over > most_behind && round < over - most_behind) {
    // The others are far ahead: it gets all that it missed, and goes along with them.
    topic.offset += over - round;
    round = over;
  }
  topic.voted = round;
  topic.seen = std::max(topic.seen, std::min(vote.seen, over));
  topic.waiting = {round, vote.attempt, vote.at_least, vote.open, begin, now + vote.remaining};
  report(now, vote.rank, who, vote);
  forget_seen(vote.topic);
  for (const auto each : agreement_topics)
    decide(now, each);
}

void agreement_board::join(time_point now, std::uint32_t rank, member& who, incarnation life) {
  const bool restarted = who.life != incarnation{};
  if (restarted)
    lost(now, rank, who.life);
  // What the earlier life had, it had.
  const auto pending = who.pending;
  who = member{};
  who.pending = pending;
  who.life = life;
  who.restarted = restarted;
}

void agreement_board::join(agreement_topic topic, member& who, std::uint64_t round) {
  auto& mine = who.topics[index_of(topic)];
  mine.joined = true;
  if (!who.restarted)
    return;
  const auto open = called_for(topic).value_or(topics_[index_of(topic)].next);
  mine.offset = open - round;
  mine.voted = mine.seen = open - 1;
}

void agreement_board::report(time_point now, std::uint32_t rank, member& who,
                             const agreement_vote& vote) {
  const bool ready = vote.topic == agreement_topic::ready;
  for (const auto& item : vote.items) {
    if (decided(item.request, who.topics[index_of(agreement_topic::ended)].seen))
      continue;
    const auto at = entries_.try_emplace(item.request).first;
    auto& known = at->second;
    known.expires = std::max(known.expires, now + item.remaining + margin_);
    if (item.failure) {
      settle(agreement_topic::ended, item.request,
             error{item.failure->code,
                   fmt::format("rank {} of this instance: {}", rank, item.failure->text)});
      continue;
    }
    if ((ready ? known.ready : known.ended).insert(rank).second && !ready)
      ++who.pending;
    look(at);
  }
}

bool agreement_board::decided(request_id request, std::uint64_t seen) const {
  const auto found = decided_.find(request);
  return found != decided_.end() && found->second > seen;
}

void agreement_board::lost(time_point now, std::uint32_t rank, incarnation life) {
  const auto found = members_.find(rank);
  if (found == members_.end() || found->second.life != life || found->second.lost)
    return;
  found->second.lost = true;
  for (auto& topic : found->second.topics)
    topic.waiting.reset();
  std::vector<request_id> failed;
  for (const auto& [id, known] : entries_)
    if (!known.ended.contains(rank))
      failed.push_back(id);
  // In an order of its own, not in that of the table.
  std::sort(failed.begin(), failed.end());
  for (const auto id : failed)
    settle(agreement_topic::ended, id, rank_lost(rank, id));
  for (const auto topic : agreement_topics)
    decide(now, topic);
}

// -- requests ----

void agreement_board::look(entries::iterator at) {
  const auto id = at->first;
  const auto& known = at->second;
  for (const auto& [rank, who] : members_)
    if (who.lost && !known.ended.contains(rank))
      return settle(agreement_topic::ended, id, rank_lost(rank, id));
  if (known.ended.size() == members_.size())
    return settle(agreement_topic::ended, id, std::nullopt);
  if (known.ready.size() == members_.size())
    settle(agreement_topic::ready, id, std::nullopt);
}

void agreement_board::settle(agreement_topic topic, request_id request,
                             std::optional<error> failure) {
  auto& state = topics_[index_of(topic)];
  const auto at = entries_.find(request);
  if (topic == agreement_topic::ended) {
    decided_[request] = undecided;
    erase(at);
  } else if (at->second.ended.empty()) {
    erase(at);
  } else {
    at->second.ready.clear();
  }
  state.settled.push_back({request, std::move(failure), std::chrono::milliseconds{0}});
}

void agreement_board::erase(entries::iterator at) {
  for (const auto rank : at->second.ended)
    --members_.at(rank).pending;
  entries_.erase(at);
}

// -- rounds ----

void agreement_board::decide(time_point now, agreement_topic topic) {
  while (decide_one(now, topic)) {
  }
}

bool agreement_board::decide_one(time_point now, agreement_topic topic) {
  const auto index = index_of(topic);
  auto& state = topics_[index];
  for (auto& [rank, who] : members_)
    if (const auto& waiting = who.topics[index].waiting; waiting && waiting->round < state.next)
      answer(topic, rank, who);
  const auto round = called_for(topic);
  if (!round || !all_voted(now, topic, *round))
    return false;
  const auto enough = std::any_of(members_.begin(), members_.end(), [&](const auto& each) {
    const auto& waiting = each.second.topics[index].waiting;
    return waiting && waiting->round == *round && satisfied(now, each.second, *waiting, state);
  });
  if (!enough)
    return false;
  const auto count = std::min(state.settled.size(), agreement_limits::items);
  const auto end = state.settled.begin() + static_cast<std::ptrdiff_t>(count);
  if (topic == agreement_topic::ended)
    for (auto item = state.settled.begin(); item != end; ++item)
      decided_[item->request] = *round;
  if (count != 0)
    state.verdicts[*round].assign(std::make_move_iterator(state.settled.begin()),
                                  std::make_move_iterator(end));
  state.settled.erase(state.settled.begin(), end);
  state.next = *round + 1;
  for (auto& [rank, who] : members_)
    if (const auto& waiting = who.topics[index].waiting; waiting && waiting->round == *round)
      answer(topic, rank, who);
  if (state.verdicts.size() > most_verdicts)
    forget(topic, state.verdicts.begin()->first);
  return true;
}

std::optional<std::uint64_t> agreement_board::called_for(agreement_topic topic) const {
  std::optional<std::uint64_t> round;
  for (const auto& [rank, who] : members_)
    if (const auto& waiting = who.topics[index_of(topic)].waiting)
      round = round ? std::min(*round, waiting->round) : waiting->round;
  return round;
}

bool agreement_board::all_voted(time_point now, agreement_topic topic, std::uint64_t round) {
  auto begin = time_point::max();
  for (const auto& [rank, who] : members_)
    if (const auto& waiting = who.topics[index_of(topic)].waiting;
        waiting && waiting->round == round)
      begin = std::min(begin, waiting->begin);
  for (auto& [rank, who] : members_) {
    auto& mine = who.topics[index_of(topic)];
    if (who.lost || mine.late || mine.voted >= round)
      continue;
    if (now < begin + patience_)
      return false;
    mine.late = true;
  }
  return true;
}

bool agreement_board::satisfied(time_point now, const member& who, const call& wish,
                                const topic_state& state) {
  return state.settled.size() >= wish.at_least || now >= wish.gives_up ||
         (!wish.open && who.pending == 0);
}

void agreement_board::answer(agreement_topic topic, std::uint32_t rank, member& who) {
  auto& mine = who.topics[index_of(topic)];
  const auto& verdicts = topics_[index_of(topic)].verdicts;
  const auto wish = *std::exchange(mine.waiting, std::nullopt);
  agreement_verdict verdict;
  verdict.topic = topic;
  verdict.round = wish.round - mine.offset;
  verdict.seen = wish.round;
  verdict.attempt = wish.attempt;
  for (auto at = verdicts.upper_bound(mine.seen); at != verdicts.end() && at->first <= wish.round;
       ++at) {
    if (verdict.items.size() + at->second.size() > agreement_limits::items) {
      verdict.seen = at->first - 1;
      break;
    }
    verdict.items.insert(verdict.items.end(), at->second.begin(), at->second.end());
  }
  replies_.push_back({rank, std::move(verdict)});
}

void agreement_board::forget_seen(agreement_topic topic) {
  auto seen = topics_[index_of(topic)].next - 1;
  for (const auto& [rank, who] : members_)
    if (!who.lost)
      seen = std::min(seen, who.topics[index_of(topic)].seen);
  forget(topic, seen);
}

void agreement_board::forget(agreement_topic topic, std::uint64_t round) {
  auto& verdicts = topics_[index_of(topic)].verdicts;
  const auto end = verdicts.upper_bound(round);
  if (topic == agreement_topic::ended)
    for (auto at = verdicts.begin(); at != end; ++at)
      for (const auto& item : at->second)
        if (const auto known = decided_.find(item.request);
            known != decided_.end() && known->second == at->first)
          decided_.erase(known);
  verdicts.erase(verdicts.begin(), end);
}

void agreement_board::sweep(time_point now) {
  std::vector<std::pair<request_id, std::vector<std::uint32_t>>> overdue;
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto here = at++;
    if (now < here->second.expires)
      continue;
    std::vector<std::uint32_t> silent;
    for (const auto& [rank, who] : members_)
      if (!here->second.ended.contains(rank))
        silent.push_back(rank);
    if (here->second.ended.empty())
      erase(here);
    else
      overdue.emplace_back(here->first, std::move(silent));
  }
  std::sort(overdue.begin(), overdue.end());
  for (auto& [id, silent] : overdue)
    settle(agreement_topic::ended, id,
           error{errc::timed_out,
                 fmt::format("rank(s) {} of this instance did not report request {} by its "
                             "deadline; see that they take part in the agreement and make as many "
                             "status calls as the others",
                             fmt::join(silent, ", "), id)});
  for (const auto topic : agreement_topics)
    decide(now, topic);
}

std::vector<agreement_board::reply> agreement_board::take_replies() {
  return std::exchange(replies_, {});
}

bool agreement_board::busy() const noexcept {
  if (!entries_.empty())
    return true;
  for (const auto& [rank, who] : members_)
    for (const auto& topic : who.topics)
      if (topic.waiting)
        return true;
  return false;
}

} // namespace baton
