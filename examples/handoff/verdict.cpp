#include "examples/handoff/verdict.hpp"

#include <algorithm>
#include <utility>

#include <fmt/ranges.h>

namespace baton::handoff {

namespace {

using nlohmann::json;

const char* why_missing(const rank_run& rank, bool restarted) {
  if (restarted)
    return "peer_lost: killed, and restarted";
  switch (rank.life) {
  case rank_life::killed:
    return "peer_lost: killed";
  case rank_life::stopped:
    return "peer_lost: stopped";
  default:
    return "timed_out: no outcome";
  }
}

void check_state(run_state& state, const request_spec& request, rank_name rank,
                 const json& outcome) {
  const auto& accepted = request.expect[rank.side];
  const auto text = outcome["state"].get<std::string>();
  const auto ended = parse_request_state(text);
  if (ended && std::ranges::find(accepted, *ended) != accepted.end())
    return;
  std::vector<std::string_view> names;
  for (auto one : accepted)
    names.push_back(to_string(one));
  state.problem("request {}: {} ended as {} ({}), expected {}", request.id, to_string(rank), text,
                outcome["error"].is_null() ? "no error" : outcome["error"].get<std::string>(),
                fmt::join(names, " or "));
}

void check_lanes(run_state& state, const request_spec& request, rank_name rank,
                 const json& outcome) {
  if (state.run.lane == lane_policy::automatic)
    return;
  const auto lane = state.run.lane == lane_policy::mapped ? "mapped" : "ucx";
  for (const auto& source : outcome["sources"])
    if (source["lane"] != lane)
      state.problem("request {}: {} used lane {}, but {} is required", request.id, to_string(rank),
                    source["lane"].get<std::string>(), lane);
}

/// Ranks that agreed must have reported the same. A rank may be on its own only if the directory's
/// rank was lost, or in a call that blocks.
void check_agreement(run_state& state, const request_spec& request, instance_role side,
                     const request_result& result) {
  const bool blocking =
      side == instance_role::generation && state.run.flow == workflow::ctx_first_sync;
  const bool directory = state.rank_of({side, 0}).life == rank_life::running;
  const json* first = nullptr;
  for (const auto& [name, outcome] : result.outcomes) {
    if (name.side != side || !outcome.contains("agreed") || blocking)
      continue;
    if (!outcome["agreed"].get<bool>()) {
      if (directory)
        state.problem("request {}: {} did not agree with the others", request.id, to_string(name));
      continue;
    }
    first = first ? first : &outcome;
    if ((*first)["state"] != outcome["state"] || (*first)["error"] != outcome["error"])
      state.problem("request {}: {} ended as {}, another rank as {}", request.id, to_string(name),
                    outcome["state"].get<std::string>(), (*first)["state"].get<std::string>());
  }
}

/// Adds how long after the request's fault a rank had its blocks back.
void add_reclaim_time(const run_state& state, std::size_t request, json& outcome) {
  if (!outcome.contains("free_us"))
    return;
  for (std::size_t i = 0; i < state.faults.size(); ++i)
    if (const auto& fault = state.faults[i]; fault.acted && state.concerns(i, request)) {
      const auto at =
          std::chrono::duration_cast<std::chrono::microseconds>(fault.acted_at.time_since_epoch());
      outcome["reclaim_us"] =
          std::max<std::int64_t>(outcome["free_us"].get<std::int64_t>() - at.count(), 0);
    }
}

request_result judge_request(run_state& state, std::size_t index) {
  request_result result;
  result.completed = true;
  result.outcomes = std::move(state.requests[index].outcomes);
  for (const auto& rank : state.ranks) {
    if (!state.takes_part(rank, index))
      continue;
    const bool restarted = state.requests[index].bereft.contains(rank.name);
    const auto [found, missing] = result.outcomes.try_emplace(rank.name);
    auto& outcome = found->second;
    add_reclaim_time(state, index, outcome);
    if (missing)
      outcome = missing_outcome(why_missing(rank, restarted));
    if (rank.name.side == instance_role::generation)
      result.completed &= outcome["state"] == to_string(request_state::generation_trans_complete);
    if (rank.life == rank_life::running && !missing && !restarted) {
      check_state(state, state.run.requests[index], rank.name, outcome);
      check_lanes(state, state.run.requests[index], rank.name, outcome);
    }
  }
  if (state.settings.agree)
    for (auto side : both_sides)
      check_agreement(state, state.run.requests[index], side, result);
  return result;
}

} // namespace

run_result judge(run_state& state) {
  run_result result;
  for (std::size_t i = 0; i < state.requests.size(); ++i)
    result.requests.push_back(judge_request(state, i));
  for (std::size_t i = 0; i < state.faults.size(); ++i)
    if (const auto& fault = state.run.faults[i]; !state.faults[i].act_at)
      result.warnings.push_back(
          fmt::format("faults[{}]: {} never came to \"{}\" of request {}, so nothing was done", i,
                      to_string(fault.who), to_string(fault.at), fault.request));
  result.wrong = state.wrong;
  result.problems = std::move(state.problems);
  return result;
}

} // namespace baton::handoff
