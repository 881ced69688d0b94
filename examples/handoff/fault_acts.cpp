#include "examples/handoff/fault_acts.hpp"

#include <algorithm>
#include <chrono>

#include "examples/handoff/rank_processes.hpp"

namespace baton::handoff {

namespace {

/// How long after the request's deadline a rank under `stop_resume` goes on.
/// Likewise for the network under `partition_heal`.
constexpr std::chrono::milliseconds resume_delay{500};

/// Pauses of TCP between two attempts double, so that an outage is felt as long again, but not
/// longer than a connection without a sign of life lasts.
constexpr std::chrono::milliseconds longest_echo{5'000};

run_clock::time_point after_deadline(const run_state& state, std::size_t fault) {
  const auto request = request_index(state.run, state.run.faults[fault].request);
  const auto deadline = state.requests[request].started + state.run.timeout;
  return std::max(deadline, run_clock::now()) + resume_delay;
}

void release(rank_run& rank, std::size_t fault) {
  rank.process.channel().post({{"do", "release"}, {"fault", fault}});
}

void rest(run_state& state, rank_run& rank, std::size_t fault) {
  rank.life = rank_life::resting;
  rank.process.stop();
  rank.resume_at = after_deadline(state, fault);
  release(rank, fault);
}

void restart(run_state& state, rank_run& rank) {
  rank.life = rank_life::falling;
  rank.process.kill();
  for (std::size_t i = 0; i < state.requests.size(); ++i)
    if (auto& request = state.requests[i]; request.stage == request_run::stage::both_told &&
                                           state.takes_part(rank, i) &&
                                           !request.outcomes.contains(rank.name))
      request.bereft.insert(rank.name);
}

void partition(run_state& state, rank_run& rank, std::size_t fault) {
  const auto side = rank.name.side;
  if (auto cut = state.networks->cut(side); !cut)
    state.problem("faults[{}]: {}", fault, cut.error().text);
  if (state.run.faults[fault].act == fault_action::partition_heal)
    state.outages[side] = outage{run_clock::now(), after_deadline(state, fault), {}};
  release(rank, fault);
}

void act(run_state& state, std::size_t fault) {
  auto& rank = state.rank_of(state.run.faults[fault].who);
  if (!rank.answers() || rank.life == rank_life::killed)
    return;
  switch (state.run.faults[fault].act) {
  case fault_action::kill:
    rank.life = rank_life::killed;
    return rank.process.kill();
  case fault_action::stop:
    rank.life = rank_life::stopped;
    return rank.process.stop();
  case fault_action::stop_resume:
    return rest(state, rank, fault);
  case fault_action::cancel:
    return rank.process.channel().post({{"do", "cancel"}, {"fault", fault}});
  case fault_action::shutdown:
    return rank.process.channel().post({{"do", "shutdown"}, {"fault", fault}});
  case fault_action::restart:
    return restart(state, rank);
  case fault_action::partition:
  case fault_action::partition_heal:
    return partition(state, rank, fault);
  }
}

/// Brings on what was begun: ranks that rest, ranks that are to be replaced, and the network.
void bring_on(run_state& state, rank_run& rank, run_clock::time_point now) {
  if (rank.life == rank_life::resting && rank.resume_at <= now) {
    rank.life = rank_life::running;
    rank.process.resume();
  } else if (rank.life == rank_life::falling && rank.gone) {
    replace_rank(state, rank);
  } else if (rank.life == rank_life::returning && rank.return_by <= now) {
    rank.life = rank_life::killed;
    rank.process.kill();
    state.problem("{} was not ready in time after its restart", to_string(rank.name));
  }
}

void bring_on(run_state& state, instance_role side, run_clock::time_point now) {
  auto& cut = state.outages[side];
  if (cut && !cut->calm_at && cut->heal_at <= now) {
    cut->calm_at = now + std::min<run_clock::duration>(now - cut->begin, longest_echo);
    if (auto healed = state.networks->heal(side); !healed)
      state.problem("the network of the {} side: {}", to_string(side), healed.error().text);
  } else if (cut && cut->calm_at && *cut->calm_at <= now) {
    cut.reset();
  }
}

} // namespace

void act_on_faults(run_state& state) {
  const auto now = run_clock::now();
  for (std::size_t i = 0; i < state.faults.size(); ++i)
    if (auto& fault = state.faults[i]; fault.act_at && !fault.acted && *fault.act_at <= now) {
      fault.acted = true;
      fault.acted_at = now;
      act(state, i);
    }
  for (auto& rank : state.ranks)
    bring_on(state, rank, run_clock::now());
  for (auto side : both_sides)
    bring_on(state, side, run_clock::now());
}

bool faults_settled(const run_state& state) {
  return std::ranges::all_of(state.faults,
                             [](const fault_run& fault) { return !fault.act_at || fault.acted; }) &&
         !state.waits_for_ranks() && !state.waits_for_network() &&
         std::ranges::none_of(state.ranks,
                              [](const rank_run& rank) { return rank.life == rank_life::resting; });
}

} // namespace baton::handoff
