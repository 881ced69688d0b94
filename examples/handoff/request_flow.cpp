#include "examples/handoff/request_flow.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/ranges.h>

#include "examples/handoff/rank_events.hpp"

namespace baton::handoff {

namespace {

/// What a request gets on top of its timeout before it counts as lost.
constexpr std::chrono::milliseconds outcome_margin{10'000};

} // namespace

void request_flow::advance() {
  start_more();
  for (auto index : std::exchange(state_.touched, {}))
    advance(index);
  if (const auto now = run_clock::now(); now - looked_at_all_ >= pump_tick) {
    looked_at_all_ = now;
    for (auto index : std::vector<std::size_t>(in_flight_.begin(), in_flight_.end()))
      advance(index);
  }
}

void request_flow::start_more() {
  // What begins after a restart, or after a partition, shall find all well.
  if (state_.waits_for_ranks() || state_.waits_for_network())
    return;
  while (in_flight_.size() < state_.run.concurrency && next_ < state_.requests.size()) {
    const auto index = next_++;
    in_flight_.insert(index);
    state_.requests[index].stage = request_run::stage::one_told;
    state_.requests[index].started = run_clock::now();
    tell(state_.first_side(), index);
    state_.touched.insert(index);
  }
}

void request_flow::advance(std::size_t index) {
  if (!in_flight_.contains(index))
    return;
  auto& stage = state_.requests[index].stage;
  if (stage == request_run::stage::one_told && !state_.waits_for_ranks() &&
      first_side_has_it(index)) {
    tell(state_.first_side() == instance_role::context ? instance_role::generation
                                                       : instance_role::context,
         index);
    stage = request_run::stage::both_told;
  }
  if (stage == request_run::stage::both_told && all_have_ended(index))
    return end(index);
  if (run_clock::now() > patience(index))
    give_up(index);
}

bool request_flow::first_side_has_it(std::size_t index) const {
  return std::ranges::all_of(state_.ranks, [&](const rank_run& rank) {
    return rank.name.side != state_.first_side() || !state_.takes_part(rank, index) ||
           has_it(index, rank);
  });
}

/// Also when the other side need not wait for this rank any longer.
bool request_flow::has_it(std::size_t index, const rank_run& rank) const {
  if (!rank.answers() || rank.life == rank_life::resting ||
      state_.requests[index].acknowledged.contains(rank.name))
    return true;
  for (std::size_t i = 0; i < state_.faults.size(); ++i)
    if (state_.faults[i].act_at && state_.run.faults[i].who == rank.name &&
        state_.concerns(i, index))
      return true;
  return false;
}

bool request_flow::all_have_ended(std::size_t index) const {
  return std::ranges::all_of(state_.ranks, [&](const rank_run& rank) {
    return !state_.takes_part(rank, index) || !rank.answers() ||
           state_.requests[index].outcomes.contains(rank.name) ||
           state_.requests[index].bereft.contains(rank.name);
  });
}

void request_flow::tell(instance_role side, std::size_t index) {
  for (auto& rank : state_.ranks)
    if (rank.name.side == side && state_.takes_part(rank, index) && rank.answers())
      state_.tell(rank, index);
}

/// When a request counts as lost: ranks that were held up by a fault count from when they went on.
run_clock::time_point request_flow::patience(std::size_t index) const {
  auto from = state_.requests[index].started;
  for (const auto& rank : state_.ranks)
    if (state_.takes_part(rank, index) && rank.resume_at)
      from = std::max(from, *rank.resume_at);
  for (std::size_t i = 0; i < state_.faults.size(); ++i)
    if (state_.faults[i].act_at && state_.concerns(i, index))
      from = std::max(from, *state_.faults[i].act_at);
  // A prepared request has its timeout twice: until it is offered, and from then on.
  return from + state_.run.timeout * (prepares(state_.run.flow) ? 2 : 1) + outcome_margin;
}

void request_flow::give_up(std::size_t index) {
  std::vector<std::string> silent;
  for (const auto& rank : state_.ranks)
    if (state_.takes_part(rank, index) && rank.answers() &&
        !state_.requests[index].outcomes.contains(rank.name))
      silent.push_back(to_string(rank.name));
  state_.problem("request {}: no outcome from {}", state_.run.requests[index].id,
                 fmt::join(silent, ", "));
  end(index);
}

void request_flow::end(std::size_t index) {
  state_.requests[index].stage = request_run::stage::ended;
  in_flight_.erase(index);
  ++ended_;
  if (state_.settings.progress)
    print_progress(ended_, state_.requests.size());
}

} // namespace baton::handoff
