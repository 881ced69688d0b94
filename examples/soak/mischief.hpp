#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "examples/soak/fleet.hpp"
#include "examples/soak/traffic.hpp"

namespace baton::soak {

/// Draws instances and has them join.
class recruiter {
public:
  recruiter(chance& draw, fleet& ranks) : draw_{draw}, ranks_{ranks}, model_{draw_model(draw)} {}

  [[nodiscard]] const handoff::model_spec& model() const noexcept { return model_; }
  void join(instance_role role);
  /// The same with a lane of one's choice.
  void join(instance_role role, lane_policy lanes);

private:
  instance_plan make(instance_role role);

  chance& draw_;
  fleet& ranks_;
  handoff::model_spec model_;
  std::uint32_t joined_ = 0;
};

/// Does one thing or another to ranks and requests, every now and then.
class mischief {
public:
  mischief(chance& draw, fleet& ranks, traffic& requests, recruiter& recruits);

  /// Begins to do things.
  ///
  /// @param until  what is begun is over soon after this.
  /// @param stays  the side whose instances are not let go: they are to be compared with what they
  ///               were before. Their ranks fall and return.
  void begin(soak_clock::time_point until, instance_role stays);
  /// Does what is due.
  void advance();
  /// Whether nothing is begun that is not over.
  [[nodiscard]] bool over() const;

private:
  void act();
  bool act(fault_kind kind);
  bool stop(fault_kind kind);
  bool end_one(fault_kind kind);
  bool part_with_one(fault_kind kind);
  bool join_one();
  rank_run* victim();

  chance& draw_;
  fleet& ranks_;
  traffic& requests_;
  recruiter& recruits_;
  soak_clock::time_point until_;
  instance_role stays_ = instance_role::context;
  soak_clock::time_point next_;
  std::map<rank_run*, soak_clock::time_point> stopped_; ///< until when
};

} // namespace baton::soak
