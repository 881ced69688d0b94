#pragma once

#include <cstddef>
#include <set>

#include "examples/handoff/run_state.hpp"

namespace baton::handoff {

/// Moves the requests through a run, as many at a time as the scenario says: one side hears of a
/// request, then the other (which is first says the workflow), then all report an outcome.
class request_flow {
public:
  explicit request_flow(run_state& state) : state_{state} {}

  /// Moves on what can move.
  void advance();
  [[nodiscard]] bool done() const noexcept { return ended_ == state_.requests.size(); }

private:
  void start_more();
  void advance(std::size_t index);
  void tell(instance_role side, std::size_t index);
  void give_up(std::size_t index);
  void end(std::size_t index);
  [[nodiscard]] bool first_side_has_it(std::size_t index) const;
  [[nodiscard]] bool has_it(std::size_t index, const rank_run& rank) const;
  [[nodiscard]] bool all_have_ended(std::size_t index) const;
  [[nodiscard]] run_clock::time_point patience(std::size_t index) const;

  run_state& state_;
  std::set<std::size_t> in_flight_;
  std::size_t next_ = 0;
  std::size_t ended_ = 0;
  run_clock::time_point looked_at_all_;
};

} // namespace baton::handoff
