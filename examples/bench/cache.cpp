#include "examples/bench/cache.hpp"

#include "examples/support/value_of.hpp"

namespace baton::bench {

namespace {

using examples::value_of;

handoff::scenario scenario_of(const cache_setup& setup) {
  handoff::scenario run;
  run.name = "bench";
  run.seed = 1;
  run.model.layers = setup.layers;
  run.model.mla = true; // one buffer a layer
  run.model.type = element_type::bf16;
  run.model.head_dim = fragment_bytes / tokens_per_block / size_of(run.model.type);
  for (const auto role : handoff::both_sides) {
    run.sides[role].tokens_per_block = tokens_per_block;
    run.sides[role].blocks = std::uint64_t{setup.requests} * setup.blocks;
  }
  run.sides.context.pool = handoff::pool_order::layer_first;
  run.sides.generation.pool = handoff::pool_order::block_first;
  for (std::uint32_t i = 0; i < setup.requests; ++i) {
    handoff::request_spec request;
    request.id = request_id{i + 1};
    request.tokens = setup.blocks * tokens_per_block;
    run.requests.push_back(std::move(request));
  }
  return run;
}

rank_layout layout_of(const handoff::scenario& run, instance_role role) {
  auto ranks = value_of(
      handoff::build_instance(run.model, run.sides[role], role, std::string{to_string(role)}));
  ranks.front().life = random_id<incarnation>();
  return std::move(ranks.front());
}

} // namespace

rank_cache::rank_cache(const cache_setup& setup, instance_role role)
    : run_{scenario_of(setup)},
      layout_{layout_of(run_, role)},
      tables_{handoff::draw_blocks(run_, layout_)} {
}

token_range rank_cache::tokens() const noexcept {
  return {0, run_.requests.front().tokens};
}

std::vector<memory_pool> rank_cache::make_pools() const {
  std::vector<memory_pool> pools;
  for (const auto& pool : layout_.pools)
    pools.emplace_back(value_of(host_pool::create(pool.bytes())));
  return pools;
}

void rank_cache::prepare(const rank_plane& plane) const {
  handoff::clear_pools(view(plane));
  if (layout_.role == instance_role::context)
    handoff::write_requests(view(plane));
}

std::uint64_t rank_cache::wrong_bytes(const rank_plane& plane) const {
  const auto wrong =
      layout_.role == instance_role::context
          ? handoff::check_context(view(plane))
          : handoff::check_generation(view(plane), std::vector<bool>(run_.requests.size(), true));
  return wrong.mismatched + wrong.stray;
}

handoff::rank_cache rank_cache::view(const rank_plane& plane) const {
  handoff::rank_cache out{run_, layout_, tables_, {}};
  for (std::size_t i = 0; i < layout_.pools.size(); ++i)
    out.pools.push_back(plane.pool(i).memory().first(layout_.pools[i].bytes()));
  return out;
}

std::shared_ptr<const planner> planner_between(const rank_layout& context,
                                               const rank_layout& generation) {
  const auto table = value_of(make_pairs({&context, 1}, 0, {&generation, 1}, 0));
  return std::make_shared<const planner>(context, generation, *table.find(0, 0));
}

} // namespace baton::bench
