#include "examples/handoff/run_state.hpp"

#include <algorithm>

namespace baton::handoff {

rank_run& run_state::rank_of(rank_name name) {
  return *std::ranges::find(ranks, name, &rank_run::name);
}

bool run_state::takes_part(const rank_run& rank, std::size_t request) const noexcept {
  return handoff::takes_part(run.sides[rank.name.side], rank.name.rank, request);
}

bool run_state::concerns(std::size_t fault, std::size_t request) const noexcept {
  return run.faults[fault].request == run.requests[request].id;
}

bool run_state::waits_for_ranks() const noexcept {
  return std::ranges::any_of(ranks, &rank_run::is_away);
}

bool run_state::waits_for_network() const noexcept {
  return outages.context || outages.generation;
}

instance_role run_state::first_side() const noexcept {
  return run.flow == workflow::gen_first2 ? instance_role::generation : instance_role::context;
}

void run_state::tell(rank_run& rank, std::size_t request) {
  nlohmann::json command{{"do", prepares(run.flow) ? "prepare" : "offer"}, {"request", request}};
  if (rank.name.side == instance_role::generation)
    command = {
        {"do", "receive"},
        {"request", request},
        // Rank g is the first of dp group g.
        {"params", rank_of({instance_role::context, dp_group(run.sides.context, request)}).params}};
  rank.process.channel().post(command);
}

} // namespace baton::handoff
