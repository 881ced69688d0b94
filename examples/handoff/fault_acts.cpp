#include "examples/handoff/fault_acts.hpp"

#include <algorithm>
#include <chrono>

namespace baton::handoff {

namespace {

/// How long after the request's deadline a rank under `stop_resume` goes on.
constexpr std::chrono::milliseconds resume_delay{500};

void rest(run_state& state, rank_run& rank, std::size_t fault) {
  rank.life = rank_life::resting;
  rank.process.stop();
  const auto request = request_index(state.run, state.run.faults[fault].request);
  const auto deadline = state.requests[request].started + state.run.timeout;
  rank.resume_at = std::max(deadline, run_clock::now()) + resume_delay;
  rank.process.channel().post({{"do", "release"}, {"fault", fault}});
}

void act(run_state& state, std::size_t fault) {
  auto& rank = state.rank_of(state.run.faults[fault].who);
  if (rank.gone || rank.life == rank_life::stopped || rank.life == rank_life::killed)
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
  }
}

} // namespace

void act_on_faults(run_state& state) {
  const auto now = run_clock::now();
  for (std::size_t i = 0; i < state.faults.size(); ++i)
    if (auto& fault = state.faults[i]; fault.act_at && !fault.acted && *fault.act_at <= now) {
      fault.acted = true;
      act(state, i);
    }
  for (auto& rank : state.ranks)
    if (rank.life == rank_life::resting && rank.resume_at <= run_clock::now()) {
      rank.life = rank_life::running;
      rank.process.resume();
    }
}

bool faults_settled(const run_state& state) {
  return std::ranges::all_of(state.faults,
                             [](const fault_run& fault) { return !fault.act_at || fault.acted; }) &&
         std::ranges::none_of(state.ranks,
                              [](const rank_run& rank) { return rank.life == rank_life::resting; });
}

} // namespace baton::handoff
