#include "examples/bench/gpu_setup.hpp"

#include <algorithm>
#include <numeric>
#include <random>
#include <string>

#include "examples/handoff/layouts.hpp"
#include "examples/support/value_of.hpp"
#include "transport/plan/pairs.hpp"

namespace baton::bench {

namespace {

using examples::value_of;

constexpr auto group_name = "full"; ///< what `build_instance` calls the only group

handoff::model_spec model_of(const gpu_setup& setup, instance_role role) {
  handoff::model_spec model;
  model.layers = setup.layers;
  model.mla = setup.kv_heads == 0;
  model.kv_heads = std::max(setup.kv_heads, 1u);
  model.head_dim = setup.head_dim;
  model.type = setup.side(role).type;
  return model;
}

std::uint32_t blocks_of(const gpu_setup& setup, instance_role role) {
  return setup.requests * (setup.tokens / setup.side(role).tokens_per_block);
}

/// One more than an eighth more, so that no stride is a power of two.
std::uint32_t slots_of(const gpu_setup& setup, instance_role role) {
  const auto blocks = blocks_of(setup, role);
  return blocks + blocks / 8 + 1;
}

} // namespace

std::uint64_t gpu_setup::bytes() const noexcept {
  const std::uint64_t rows = kv_heads == 0 ? 1 : 2 * std::uint64_t{kv_heads} / generation.tp;
  return rows * layers * head_dim * size_of(context.type) * tokens * requests;
}

gpu_setup fragments_of(std::uint64_t fragment, std::uint64_t bytes_per_request,
                       std::uint32_t requests) {
  gpu_setup setup;
  const auto tokens = setup.generation.tokens_per_block;
  setup.head_dim = static_cast<std::uint32_t>(fragment / tokens / size_of(setup.context.type));
  setup.tokens = static_cast<std::uint32_t>(bytes_per_request / fragment / setup.layers) * tokens;
  setup.requests = requests;
  return setup;
}

std::vector<rank_layout> layouts_of(const gpu_setup& setup, instance_role role) {
  handoff::side_spec side;
  side.tp = setup.side(role).tp;
  side.tokens_per_block = setup.side(role).tokens_per_block;
  side.inner = setup.side(role).nhd ? handoff::inner_order::nhd : handoff::inner_order::hnd;
  side.pool = handoff::pool_order::layer_first;
  side.blocks = slots_of(setup, role);
  return value_of(
      handoff::build_instance(model_of(setup, role), side, role, std::string{to_string(role)}));
}

std::vector<std::vector<group_blocks>> draw_tables(const gpu_setup& setup, instance_role role) {
  std::vector<std::uint32_t> slots(slots_of(setup, role));
  std::iota(slots.begin(), slots.end(), 0u);
  std::shuffle(slots.begin(), slots.end(),
               std::mt19937_64{2 * setup.seed + (role == instance_role::context ? 1 : 0)});
  const auto blocks = blocks_of(setup, role) / setup.requests;
  std::vector<std::vector<group_blocks>> tables;
  for (auto first = slots.cbegin(); tables.size() < setup.requests; first += blocks)
    tables.push_back({{group_name, 0, {first, first + blocks}}});
  return tables;
}

std::shared_ptr<const planner> planner_of(const gpu_setup& setup, const rank_layout& context,
                                          const rank_layout& generation) {
  auto sources = layouts_of(setup, instance_role::context);
  auto destinations = layouts_of(setup, instance_role::generation);
  sources.front() = context;
  destinations.front() = generation;
  const auto table = value_of(make_pairs(sources, 0, destinations, 0));
  return std::make_shared<const planner>(context, generation, *table.find(0, 0));
}

} // namespace baton::bench
