#include "examples/soak/soak.hpp"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "examples/handoff/footprint.hpp"
#include "examples/handoff/interruption.hpp"
#include "examples/soak/fleet.hpp"
#include "examples/soak/mischief.hpp"
#include "examples/soak/traffic.hpp"

namespace baton::soak {

namespace {

using handoff::footprint;
using std::chrono::milliseconds;

constexpr milliseconds warm_up{1'500};
constexpr milliseconds longest_round{20'000};
constexpr milliseconds shortest_round{4'000};
/// What a round takes besides the time in which requests are begun.
constexpr milliseconds rest_of_round{6'000};
/// For everything that must come to an end, whatever was done.
constexpr milliseconds patience{60'000};
/// Until nothing is left of lost peers: they are waited for, and UCX lets go of some things later.
constexpr milliseconds alone_limit{20'000};
/// Two looks so long apart that find the same: nothing is being let go of.
constexpr milliseconds at_rest{700};
constexpr milliseconds between_looks{100};
constexpr std::size_t shown_problems = 5; ///< of a round, at once; all of them come at the end

instance_role other(instance_role side) noexcept {
  return side == instance_role::context ? instance_role::generation : instance_role::context;
}

class soak_run {
public:
  explicit soak_run(const settings& how);
  figures run();

private:
  void half(instance_role stays, soak_clock::time_point until);
  void warm(instance_role stays);
  void round(instance_role stays, soak_clock::time_point until);
  void tick();
  [[nodiscard]] bool enough() const { return how_.stop_early && !found_.ok(); }
  void pass(milliseconds time);
  template <class Done>
  bool await(milliseconds limit, Done done);
  void settle();
  void let_go(instance_role side);
  void look_at_levels(instance_role side);
  void check_empty(instance_role side);
  void check_alone(instance_role stays);
  bool is_alone(rank_run& rank);
  void count_leaks(const rank_run& rank);
  std::vector<rank_run*> ranks_of(instance_role side);
  std::set<std::string> names_of(instance_role side);

  const settings& how_;
  figures found_;
  chance draw_;
  std::optional<fleet> fleet_;
  std::optional<traffic> traffic_;
  std::optional<recruiter> recruiter_;
  std::optional<mischief> mischief_;
  struct look {
    footprint found;
    std::string open; ///< descriptors by kind
    soak_clock::time_point since;
  };
  std::map<std::string, look> before_; ///< what ranks cost without a peer, after warm-up
  std::set<std::string> newcomers_;    ///< that have not been there for a whole round
  std::map<std::string, look> looks_;  ///< at ranks of which that is not known yet
  std::size_t rounds_ = 0;
};

soak_run::soak_run(const settings& how) : how_{how}, draw_{how.seed} {
  fleet_.emplace(how_, found_, draw_,
                 fleet::listener{[this](rank_run& rank, const nlohmann::json& event) {
                                   traffic_->take(rank, event);
                                 },
                                 [this](rank_run& rank) { traffic_->forget(rank); }});
  traffic_.emplace(how_, found_, draw_, *fleet_);
  recruiter_.emplace(draw_, *fleet_);
  mischief_.emplace(draw_, *fleet_, *traffic_, *recruiter_);
}

figures soak_run::run() {
  const auto begin = soak_clock::now();
  fmt::print("seed {}: {}\n", how_.seed, describe(recruiter_->model()));
  const auto first = draw_.one_in(2) ? instance_role::context : instance_role::generation;
  half(first, begin + how_.duration / 2);
  if (!enough())
    half(other(first), begin + how_.duration);
  found_.duration = std::chrono::duration_cast<milliseconds>(soak_clock::now() - begin);
  return std::move(found_);
}

void soak_run::half(instance_role stays, soak_clock::time_point until) {
  recruiter_->join(stays, lane_policy::automatic);
  recruiter_->join(stays);
  warm(stays);
  do {
    if (enough())
      return;
    round(stays, until);
  } while (soak_clock::now() + shortest_round + rest_of_round < until);
  let_go(stays);
}

/// Once with each lane, since the first peer of a kind costs something for good.
void soak_run::warm(instance_role stays) {
  recruiter_->join(other(stays), lane_policy::automatic);
  recruiter_->join(other(stays), lane_policy::ucx);
  settle();
  pass(warm_up);
  if (enough())
    return;
  settle();
  let_go(other(stays));
  check_alone(stays);
}

void soak_run::round(instance_role stays, soak_clock::time_point until) {
  const auto requests = found_.requests;
  const auto completed = found_.completed;
  const auto processes = found_.processes;
  const auto problems = found_.problems.size();
  for (auto count = draw_.between(2, 3); count > 0; --count)
    recruiter_->join(other(stays));
  settle();
  std::string there;
  for (const auto& instance : fleet_->instances())
    there += "  " + describe(instance.plan) + "\n";
  const auto left = std::chrono::duration_cast<milliseconds>(until - soak_clock::now());
  const auto length = std::clamp(left - rest_of_round, shortest_round, longest_round);
  mischief_->begin(soak_clock::now() + length, stays);
  const auto old = names_of(stays);
  pass(length);
  if (enough())
    return;
  settle();
  std::ranges::set_difference(names_of(stays), old, std::inserter(newcomers_, newcomers_.begin()));
  check_empty(instance_role::context);
  check_empty(instance_role::generation);
  let_go(other(stays));
  check_alone(stays);
  fmt::print("round {}, the {} side stays:\n{}  {} requests, {} completed, {} processes started\n",
             ++rounds_, to_string(stays), there, found_.requests - requests,
             found_.completed - completed, found_.processes - processes);
  for (auto i = problems; i < std::min(found_.problems.size(), problems + shown_problems); ++i)
    fmt::print("  FAILED: {}\n", found_.problems[i]);
  std::fflush(stdout);
}

void soak_run::tick() {
  if (handoff::interrupted())
    throw std::runtime_error{"interrupted"};
  fleet_->pump();
  traffic_->advance();
  mischief_->advance();
}

/// Keeps requests in flight for a while.
void soak_run::pass(milliseconds time) {
  const auto until = soak_clock::now() + time;
  while (soak_clock::now() < until && !enough()) {
    traffic_->begin_more();
    tick();
  }
}

template <class Done>
bool soak_run::await(milliseconds limit, Done done) {
  const auto until = soak_clock::now() + limit;
  while (!done()) {
    if (soak_clock::now() >= until)
      return false;
    tick();
  }
  return true;
}

/// Waits until all ranks work, and nothing is in flight.
void soak_run::settle() {
  if (await(patience, [&] { return mischief_->over() && fleet_->calm() && traffic_->idle(); }))
    return;
  ++found_.hung;
  found_.problem("after {} s not all ranks work, or requests are still in flight",
                 patience.count() / 1000);
}

void soak_run::let_go(instance_role side) {
  for (auto& instance : fleet_->instances())
    if (instance.plan.role == side)
      fleet_->part_with(instance, draw_.one_in(2));
  if (!await(patience, [&] { return ranks_of(side).empty(); }))
    throw std::runtime_error{"instances that were let go do not go"};
}

std::vector<rank_run*> soak_run::ranks_of(instance_role side) {
  std::vector<rank_run*> all;
  for (auto& instance : fleet_->instances())
    if (instance.plan.role == side)
      for (auto& rank : instance.ranks)
        all.push_back(&rank);
  return all;
}

std::set<std::string> soak_run::names_of(instance_role side) {
  std::set<std::string> names;
  for (const auto* rank : ranks_of(side))
    names.insert(rank->name());
  return names;
}

void soak_run::look_at_levels(instance_role side) {
  const auto all = ranks_of(side);
  for (auto* rank : all) {
    rank->told.reset();
    if (rank->process)
      fleet_->post(*rank, {{"do", "level"}});
  }
  if (!await(patience, [&] {
        return std::ranges::all_of(all, [](auto* rank) { return rank->told || !rank->process; });
      })) {
    ++found_.hung;
    found_.problem("not all ranks of the {} side say what they hold", to_string(side));
  }
}

/// No rank may have anything left of a request, a question that came too early at most until its
/// deadline.
void soak_run::check_empty(instance_role side) {
  const auto until = soak_clock::now() + traffic::longest_timeout + how_.margin;
  const auto empty = [](const rank_run* rank) { return rank->told && rank->told->at("left") == 0; };
  do {
    look_at_levels(side);
    if (std::ranges::all_of(ranks_of(side), empty))
      return;
    std::ignore = await(between_looks, [] { return false; });
  } while (soak_clock::now() < until);
  for (const auto* rank : ranks_of(side))
    if (rank->told && !empty(rank)) {
      found_.leaks += rank->told->at("left").get<std::uint64_t>();
      found_.problem("{} has something left of requests that ended: {}", rank->name(),
                     rank->told->at("what").get<std::string>());
    }
}

/// Compares the side that stays with what it cost when it was alone for the first time.
void soak_run::check_alone(instance_role stays) {
  const auto until = soak_clock::now() + alone_limit;
  looks_.clear();
  bool alone = false;
  while (!alone && soak_clock::now() < until) {
    look_at_levels(stays);
    alone = true;
    for (auto* rank : ranks_of(stays))
      alone = is_alone(*rank) && alone;
    if (!alone)
      std::ignore = await(between_looks, [] { return false; });
  }
  for (auto* rank : ranks_of(stays)) {
    if (!rank->told)
      continue;
    if (before_.contains(rank->name())) {
      ++found_.checks;
      count_leaks(*rank);
    } else if (!newcomers_.erase(rank->name())) {
      before_.emplace(rank->name(),
                      look{rank->told->at("level").get<footprint>(),
                           rank->told->at("open").get<std::string>(), soak_clock::now()});
    }
  }
}

bool soak_run::is_alone(rank_run& rank) {
  if (!rank.told || rank.told->at("links") != 0 || rank.told->at("left") != 0)
    return false;
  const auto now = rank.told->at("level").get<footprint>();
  if (const auto known = before_.find(rank.name()); known != before_.end())
    return excess(now, known->second.found) == 0;
  const auto [last, first] = looks_.try_emplace(rank.name(), look{now, "", soak_clock::now()});
  if (first || !(last->second.found == now)) {
    last->second = {now, "", soak_clock::now()};
    return false;
  }
  return soak_clock::now() - last->second.since >= at_rest;
}

void soak_run::count_leaks(const rank_run& rank) {
  const auto now = rank.told->at("level").get<footprint>();
  const auto& before = before_.at(rank.name());
  const auto left = rank.told->at("left").get<std::uint64_t>();
  const auto links = rank.told->at("links").get<std::uint64_t>();
  const auto more = excess(now, before.found);
  found_.leaks += left + links + more;
  if (left + links + more > 0)
    found_.problem("{} has {} without a peer, {} links, {} ({}); after warm-up it had {} ({})",
                   rank.name(), to_string(now), links, rank.told->at("what").get<std::string>(),
                   rank.told->at("open").get<std::string>(), to_string(before.found), before.open);
}

} // namespace

figures run_soak(const settings& how) {
  handoff::watch_interruptions();
  return soak_run{how}.run();
}

} // namespace baton::soak
