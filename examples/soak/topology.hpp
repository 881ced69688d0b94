#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "examples/handoff/layouts.hpp"
#include "examples/soak/chance.hpp"
#include "messages/layout.hpp"
#include "transport/seam/data_plane.hpp"

namespace baton::soak {

/// What an instance may have in flight at a time; its pools have room for no more.
namespace instance_limits {
inline constexpr std::uint32_t requests = 12;
inline constexpr std::uint32_t tokens = 2'400;
inline constexpr std::uint32_t tokens_of_one = 1'000;
} // namespace instance_limits

/// An instance as it was drawn.
struct instance_plan {
  instance_role role = instance_role::context;
  std::string name;
  handoff::side_spec side;
  lane_policy lanes = lane_policy::automatic;
  std::vector<rank_layout> layouts; ///< one per rank; `life` is 0
};

/// Draws the cache of a model, the same for all instances of a run.
[[nodiscard]] handoff::model_spec draw_model(chance& draw);

/// Draws tp, pp, block size, orders and lane of an instance.
///
/// @throws std::runtime_error if no layout can be made of it, which is an error of this program.
[[nodiscard]] instance_plan draw_instance(chance& draw, const handoff::model_spec& model,
                                          instance_role role, std::string name);

/// Whether ranks of the two find a lane: one that demands the mapped lane fits none that demands
/// ucx.
[[nodiscard]] bool lanes_fit(const instance_plan& a, const instance_plan& b) noexcept;

[[nodiscard]] std::string describe(const handoff::model_spec& model);
[[nodiscard]] std::string describe(const instance_plan& plan);

} // namespace baton::soak
