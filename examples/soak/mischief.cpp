#include "examples/soak/mischief.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace baton::soak {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t most_stopped = 2;
constexpr std::size_t most_instances = 3; ///< of a side
constexpr std::size_t least_whole = 1;    ///< of a side; something must go on

/// How often each kind comes, in the long run.
const std::vector<fault_kind> lottery{fault_kind::kill,
                                      fault_kind::kill,
                                      fault_kind::kill,
                                      fault_kind::stop,
                                      fault_kind::stop,
                                      fault_kind::long_stop,
                                      fault_kind::long_stop,
                                      fault_kind::shutdown,
                                      fault_kind::shutdown,
                                      fault_kind::kill_instance,
                                      fault_kind::leave,
                                      fault_kind::join,
                                      fault_kind::cancel_context,
                                      fault_kind::cancel_context,
                                      fault_kind::cancel_context,
                                      fault_kind::cancel_generation,
                                      fault_kind::cancel_generation,
                                      fault_kind::cancel_generation};

} // namespace

instance_plan recruiter::make(instance_role role) {
  return draw_instance(
      draw_, model_, role,
      fmt::format("{}-{}", role == instance_role::context ? "context" : "generation", ++joined_));
}

void recruiter::join(instance_role role) {
  ranks_.join(make(role));
}

void recruiter::join(instance_role role, lane_policy lanes) {
  auto plan = make(role);
  plan.lanes = lanes;
  ranks_.join(std::move(plan));
}

mischief::mischief(chance& draw, fleet& ranks, traffic& requests, recruiter& recruits)
    : draw_{draw}, ranks_{ranks}, requests_{requests}, recruits_{recruits} {
}

void mischief::begin(soak_clock::time_point until, instance_role stays) {
  until_ = until;
  stays_ = stays;
  next_ = soak_clock::now() + milliseconds{200};
}

void mischief::advance() {
  const auto now = soak_clock::now();
  if (now < until_ && next_ <= now)
    act();
  // Also those that have been killed just now: their instance may be gone the next time.
  std::erase_if(stopped_, [&](const auto& entry) {
    auto& [rank, resume_at] = entry;
    if (rank->life == rank_life::stopped && resume_at > now)
      return false;
    if (rank->life == rank_life::stopped)
      ranks_.resume(*rank);
    return true;
  });
}

bool mischief::over() const {
  return soak_clock::now() >= until_ && stopped_.empty();
}

void mischief::act() {
  next_ = soak_clock::now() + draw_.between(milliseconds{20}, milliseconds{600});
  for (int attempt = 0; attempt < 4; ++attempt)
    if (act(draw_.of(lottery)))
      return;
}

bool mischief::act(fault_kind kind) {
  switch (kind) {
  case fault_kind::cancel_context:
    return requests_.cancel(instance_role::context);
  case fault_kind::cancel_generation:
    return requests_.cancel(instance_role::generation);
  case fault_kind::stop:
  case fault_kind::long_stop:
    return stop(kind);
  case fault_kind::kill:
  case fault_kind::shutdown:
    return end_one(kind);
  case fault_kind::kill_instance:
  case fault_kind::leave:
    return part_with_one(kind);
  case fault_kind::join:
    return join_one();
  }
  return false;
}

/// A rank that works, of an instance that is not the last whole one of its side.
rank_run* mischief::victim() {
  std::map<instance_role, std::size_t> whole;
  for (const auto& instance : ranks_.instances())
    whole[instance.plan.role] += instance.whole() ? 1 : 0;
  std::vector<rank_run*> choice;
  for (auto& instance : ranks_.instances())
    for (auto& rank : instance.ranks)
      if (rank.life == rank_life::up && !instance.leaving &&
          (!instance.whole() || whole[instance.plan.role] > least_whole))
        choice.push_back(&rank);
  return choice.empty() ? nullptr : draw_.of(choice);
}

bool mischief::stop(fault_kind kind) {
  auto* rank = victim();
  if (rank == nullptr || stopped_.size() >= most_stopped)
    return false;
  const auto length =
      kind == fault_kind::stop
          ? draw_.between(milliseconds{30}, milliseconds{1'200})
          : draw_.between(traffic::longest_timeout, traffic::longest_timeout + milliseconds{4'000});
  ranks_.stop(*rank);
  requests_.note(kind, *rank->home, rank, false);
  stopped_[rank] = soak_clock::now() + length;
  return true;
}

bool mischief::end_one(fault_kind kind) {
  auto* rank = victim();
  if (rank == nullptr)
    return false;
  const auto back_after = draw_.between(milliseconds{0}, milliseconds{1'500});
  requests_.note(kind, *rank->home, rank, kind == fault_kind::shutdown);
  if (kind == fault_kind::shutdown)
    ranks_.shut_down(*rank, milliseconds{draw_.below(100)}, back_after);
  else
    ranks_.kill(*rank, back_after);
  return true;
}

bool mischief::part_with_one(fault_kind kind) {
  auto* rank = victim();
  if (rank == nullptr || rank->home->plan.role == stays_)
    return false;
  auto& instance = *rank->home;
  const auto role = instance.plan.role;
  requests_.note(kind, instance, nullptr, kind == fault_kind::leave);
  ranks_.part_with(instance, kind == fault_kind::leave);
  recruits_.join(role);
  return true;
}

bool mischief::join_one() {
  const auto role = draw_.one_in(2) ? instance_role::context : instance_role::generation;
  const auto there = std::ranges::count_if(
      ranks_.instances(), [&](const auto& one) { return one.plan.role == role && !one.leaving; });
  if (static_cast<std::size_t>(there) >= most_instances)
    return false;
  recruits_.join(role);
  requests_.note(fault_kind::join, ranks_.instances().back(), nullptr, true);
  return true;
}

} // namespace baton::soak
