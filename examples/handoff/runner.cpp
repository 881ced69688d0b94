#include "examples/handoff/runner.hpp"

#include <filesystem>
#include <system_error>

#include "examples/handoff/dump.hpp"
#include "examples/handoff/fault_acts.hpp"
#include "examples/handoff/interruption.hpp"
#include "examples/handoff/rank_events.hpp"
#include "examples/handoff/rank_processes.hpp"
#include "examples/handoff/request_flow.hpp"
#include "examples/handoff/run_state.hpp"
#include "examples/handoff/verdict.hpp"

namespace baton::handoff {

namespace {

expected<> prepare_dump(const scenario& run, const std::string& directory) {
  std::error_code problem;
  std::filesystem::create_directories(directory, problem);
  if (problem)
    return fail(errc::invalid_argument, "--dump {}: {}", directory, problem.message());
  clear_dump(directory, run);
  return {};
}

void hand_over(run_state& state) {
  request_flow requests{state};
  while (!interrupted() && !(requests.done() && faults_settled(state))) {
    requests.advance();
    pump(state);
    act_on_faults(state);
  }
}

} // namespace

expected<run_result> run_scenario(const scenario& run, const run_settings& settings) {
  watch_interruptions();
  if (!settings.dump.empty())
    if (auto prepared = prepare_dump(run, settings.dump); !prepared)
      return fail(prepared.error());
  run_state state{run, settings};
  if (auto started = start_ranks(state); !started)
    return fail(started.error());
  const auto begin = run_clock::now();
  hand_over(state);
  const auto duration = run_clock::now() - begin;
  if (!interrupted())
    finish_ranks(state);
  if (interrupted())
    return fail(errc::cancelled, "interrupted");
  auto result = judge(state);
  result.duration = duration;
  return result;
}

} // namespace baton::handoff
