#include "examples/soak/topology.hpp"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "examples/support/value_of.hpp"

namespace baton::soak {

namespace {

struct parallelism {
  std::uint32_t tp;
  std::uint32_t pp;
};

const char* name_of(lane_policy lanes) noexcept {
  constexpr std::array names{"auto", "mapped", "ucx"};
  return names[static_cast<std::size_t>(lanes)];
}

} // namespace

handoff::model_spec draw_model(chance& draw) {
  handoff::model_spec model;
  model.layers = draw.between(2, 6);
  model.mla = draw.one_in(5);
  model.kv_heads = model.mla ? 1 : draw.of<std::uint32_t>({2, 4});
  model.head_dim = model.mla ? 96 : draw.of<std::uint32_t>({16, 32, 64});
  model.type = draw.of<element_type>({element_type::bf16, element_type::fp32, element_type::int8});
  if (draw.one_in(2)) {
    model.groups = {{"full", {}, 0}, {"swa", {}, draw.between(8, 80)}};
    for (std::uint32_t layer = 0; layer < model.layers; ++layer)
      model.groups[layer % 2].layers.push_back(layer);
  }
  return model;
}

instance_plan draw_instance(chance& draw, const handoff::model_spec& model, instance_role role,
                            std::string name) {
  instance_plan plan;
  plan.role = role;
  plan.name = std::move(name);
  const auto [tp, pp] =
      draw.of<parallelism>({{1, 1}, {1, 1}, {2, 1}, {1, 2}, {2, 2}, {3, 1}, {4, 1}});
  plan.side.tp = tp;
  plan.side.pp = pp;
  plan.side.tokens_per_block = draw.of<std::uint32_t>({4, 5, 8, 16, 32});
  plan.side.inner =
      draw.of<handoff::inner_order>({handoff::inner_order::hnd, handoff::inner_order::nhd});
  plan.side.pool =
      draw.of<handoff::pool_order>({handoff::pool_order::block_first,
                                    handoff::pool_order::layer_first, handoff::pool_order::tensor});
  plan.side.blocks =
      instance_limits::tokens / plan.side.tokens_per_block + instance_limits::requests;
  plan.lanes = draw.of<lane_policy>(
      {lane_policy::automatic, lane_policy::automatic, lane_policy::mapped, lane_policy::ucx});
  plan.layouts = examples::value_of(handoff::build_instance(model, plan.side, role, plan.name));
  return plan;
}

bool lanes_fit(const instance_plan& a, const instance_plan& b) noexcept {
  return a.lanes == b.lanes || a.lanes == lane_policy::automatic ||
         b.lanes == lane_policy::automatic;
}

std::string describe(const handoff::model_spec& model) {
  return fmt::format("{} layers, {} {}, head_dim {}, {}{}", model.layers, model.kv_heads,
                     model.mla ? "latent head" : "kv heads", model.head_dim, to_string(model.type),
                     model.groups.empty()
                         ? ""
                         : fmt::format(", every other layer with a window of {} tokens",
                                       model.groups.back().window));
}

std::string describe(const instance_plan& plan) {
  constexpr std::array orders{"block_first", "layer_first", "tensor"};
  return fmt::format("{}: tp {} pp {}, {} tokens per block, {}, {}, lane {}", plan.name,
                     plan.side.tp, plan.side.pp, plan.side.tokens_per_block,
                     plan.side.inner == handoff::inner_order::hnd ? "HND" : "NHD",
                     orders[static_cast<std::size_t>(plan.side.pool)], name_of(plan.lanes));
}

} // namespace baton::soak
