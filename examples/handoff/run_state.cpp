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

} // namespace baton::handoff
