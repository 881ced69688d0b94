#include "tests/support/agreeing_ranks.hpp"

#include <algorithm>
#include <utility>

#include <boost/test/unit_test.hpp>

namespace baton::test {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr milliseconds sweep_pause{10};

} // namespace

agreeing_rank::agreeing_rank(agreeing_ranks& world, std::uint32_t number)
    : world_{world},
      number_{number},
      life_{world.clock_.pick(1, ~std::uint64_t{0} >> 1)},
      member_{std::make_unique<agreement_member>(life_, number, world.options_, *this)} {
}

void agreeing_rank::serve(request_id request, microseconds span, std::optional<error> failure,
                          milliseconds timeout) {
  if (dead_ || refused_.erase(request) != 0)
    return;
  live_[request] = {++last_number_, world_.clock_.now() + timeout};
  world_.clock_.after(
      span, [me = world_.ranks_[number_], request, failure] { me->end(request, failure); });
}

void agreeing_rank::asked(request_id request) {
  if (!dead_)
    member_->ready(request, world_.clock_.now() + std::chrono::seconds{60});
}

void agreeing_rank::end(request_id request, std::optional<error> failure) {
  auto node = live_.extract(request);
  if (dead_ || node.empty())
    return;
  ended_request ended;
  ended.result.request = request;
  ended.result.failure = std::move(failure);
  if (!ended.result.failure)
    ended.result.state = request_state::generation_trans_complete;
  ended.deadline = node.mapped().deadline;
  ended.number = node.mapped().number;
  member_->ended(world_.clock_.now(), std::move(ended));
  member_->flush(world_.clock_.now());
}

void agreeing_rank::run(microseconds longest_pause, bool prepares) {
  pause_ = longest_pause;
  prepares_ = prepares;
  running_ = true;
  next_call();
}

census agreeing_rank::count() const {
  census count{live_.size(), last_number_, world_.clock_.now()};
  for (const auto& [id, live] : live_)
    count.give_up = std::max(count.give_up, live.deadline + world_.options_.clean_up);
  return count;
}

void agreeing_rank::next_call() {
  if (dead_ || !running_ || calling_)
    return;
  calling_ = true;
  called_at_ = world_.clock_.now();
  if (prepares_)
    return member_->prepare(called_at_, 1);
  const auto wish = world_.at_least.find(answers_.size());
  member_->check(called_at_,
                 wish == world_.at_least.end() ? std::optional{std::size_t{0}} : wish->second,
                 count(), 1);
}

void agreeing_rank::answer_ended(caller_id, std::vector<outcome> ended) {
  answer what;
  for (auto& result : ended) {
    what.alone = what.alone || !result.agreed;
    if (!what.ended.emplace(result.request, result).second)
      BOOST_ERROR("request " << result.request.value << " is twice in one answer");
  }
  returned(std::move(what));
}

void agreeing_rank::answer_ready(caller_id, std::vector<request_id> ready) {
  answer what;
  what.ready = std::move(ready);
  returned(std::move(what));
}

void agreeing_rank::returned(answer what) {
  calling_ = false;
  what.took = world_.clock_.now() - called_at_;
  answers_.push_back(std::move(what));
  world_.clock_.after(world_.clock_.delay(pause_),
                      [me = world_.ranks_[number_]] { me->next_call(); });
}

bool agreeing_rank::abandon(request_id request, const error& reason) {
  if (!live_.contains(request)) {
    refused_.insert(request);
    return false;
  }
  world_.clock_.after(world_.clock_.delay(milliseconds{5}),
                      [me = world_.ranks_[number_], request, reason] { me->end(request, reason); });
  return true;
}

void agreeing_rank::vote(const agreement_vote& vote) {
  ++votes_;
  world_.carry([&world = world_, bytes = encode(vote), board = world_.board_number_] {
    if (!world.board_ || world.board_number_ != board)
      return;
    auto decoded = decode_vote(bytes);
    BOOST_REQUIRE(decoded.has_value());
    const auto& sender = *world.ranks_[decoded->rank];
    if (sender.dead_ || sender.life_ != decoded->life)
      return;
    world.board_->vote(world.clock_.now(), std::move(*decoded));
    world.reply();
  });
}

std::map<request_id, outcome> agreeing_rank::all() const {
  std::map<request_id, outcome> all;
  for (const auto& one : answers_)
    for (const auto& [id, result] : one.ended)
      if (!all.emplace(id, result).second)
        BOOST_ERROR("request " << id.value << " was returned twice on rank " << number_);
  return all;
}

agreeing_ranks::agreeing_ranks(std::uint64_t seed, std::uint32_t ranks, agreement_faults faults)
    : clock_{seed}, faults_{faults} {
  options_.clean_up = milliseconds{500};
  options_.agreement = {true, milliseconds{100}, milliseconds{2'000}};
  for (std::uint32_t i = 0; i < ranks; ++i)
    ranks_.push_back(std::make_shared<agreeing_rank>(*this, i));
  find_directory();
  sweep();
}

template <class Deliver>
void agreeing_ranks::carry(Deliver deliver) {
  if (clock_.chance(faults_.loss))
    return;
  for (int copies = clock_.chance(faults_.repeat) ? 2 : 1; copies > 0; --copies)
    clock_.after(clock_.delay(faults_.longest_message), deliver);
}

void agreeing_ranks::reply() {
  for (auto& reply : board_->take_replies())
    carry([this, to = ranks_[reply.rank], bytes = encode(reply.verdict)] {
      if (to->dead_)
        return;
      auto verdict = decode_verdict(bytes);
      BOOST_REQUIRE(verdict.has_value());
      to->member_->received(clock_.now(), std::move(*verdict));
    });
}

void agreeing_ranks::sweep() {
  if (board_) {
    board_->sweep(clock_.now());
    reply();
  }
  for (const auto& rank : ranks_)
    if (!rank->dead_)
      rank->member_->sweep(clock_.now());
  clock_.after(sweep_pause, [this] { sweep(); });
}

void agreeing_ranks::kill(std::uint32_t number) {
  auto& victim = *ranks_[number];
  victim.dead_ = true;
  clock_.after(clock_.delay(milliseconds{5}), [this, number, life = victim.life_] {
    if (!board_)
      return;
    board_->lost(clock_.now(), number, life);
    reply();
  });
}

void agreeing_ranks::restart(std::uint32_t number) {
  ranks_[number]->dead_ = true;
  ranks_[number] = std::make_shared<agreeing_rank>(*this, number);
  ranks_[number]->member_->connected(clock_.now());
}

void agreeing_ranks::lose_directory() {
  board_.reset();
  for (const auto& rank : ranks_)
    if (!rank->dead_)
      clock_.after(clock_.delay(milliseconds{5}),
                   [this, rank] { rank->member_->disconnected(clock_.now()); });
}

void agreeing_ranks::find_directory() {
  std::vector<std::uint32_t> numbers;
  for (std::uint32_t i = 0; i < size(); ++i)
    numbers.push_back(i);
  board_.emplace(numbers, options_.agreement.patience, agreement_margin(options_));
  ++board_number_;
  for (const auto& rank : ranks_)
    if (!rank->dead_)
      rank->member_->connected(clock_.now());
}

} // namespace baton::test
