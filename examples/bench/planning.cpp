#include <algorithm>
#include <numeric>
#include <random>
#include <stdexcept>

#include <fmt/format.h>

#include "examples/bench/cache.hpp"
#include "examples/bench/cases.hpp"
#include "examples/support/value_of.hpp"

namespace baton::bench {

namespace {

using examples::value_of;

/// A pool per layer keeps the runs of a block apart, one pool for all merges them into one.
struct shape {
  std::uint32_t layers = 1;
  std::uint32_t blocks = 1;
  handoff::pool_order pool = handoff::pool_order::block_first;
};

constexpr std::uint32_t fragments = 100'000;

rank_layout layout_of(const shape& wanted, instance_role role) {
  handoff::model_spec model;
  model.layers = wanted.layers;
  model.mla = true;
  model.head_dim = 512;
  handoff::side_spec side;
  side.tokens_per_block = tokens_per_block;
  side.pool = wanted.pool;
  side.blocks = wanted.blocks;
  return value_of(handoff::build_instance(model, side, role, std::string{to_string(role)})).front();
}

group_blocks shuffled(const std::string& group, std::uint32_t blocks, std::uint32_t seed) {
  group_blocks table{group, 0, std::vector<std::uint32_t>(blocks)};
  std::iota(table.blocks.begin(), table.blocks.end(), 0u);
  std::shuffle(table.blocks.begin(), table.blocks.end(), std::mt19937{seed});
  return table;
}

void check(const plan& made, const shape& wanted, const plan_blocks& blocks) {
  const auto bytes = std::uint64_t{wanted.layers} * wanted.blocks * fragment_bytes;
  bool right = made.fragments == fragments && made.bytes == bytes && made.parts.size() == 1 &&
               made.parts.front().pairs.size() == wanted.blocks;
  for (std::size_t i = 0; right && i < wanted.blocks; ++i)
    right = made.parts.front().pairs[i] ==
            slot_pair{blocks.source->blocks[i], blocks.destination->blocks[i]};
  if (!right)
    throw std::runtime_error{
        fmt::format("a plan of {} fragments is not what was asked for", made.fragments)};
}

std::vector<double> time_plans(const shape& wanted, std::size_t count) {
  const auto plans = planner_between(layout_of(wanted, instance_role::context),
                                     layout_of(wanted, instance_role::generation));
  const auto& group = plans->groups().front();
  const auto source = shuffled(group, wanted.blocks, 1);
  const auto destination = shuffled(group, wanted.blocks, 2);
  const plan_blocks blocks{group, {0, wanted.blocks * tokens_per_block}, &source, &destination};
  check(value_of(plans->make({&blocks, 1})), wanted, blocks);
  std::vector<double> us;
  for (std::size_t i = 0; i < count; ++i) {
    const stopwatch watch;
    const auto made = plans->make({&blocks, 1});
    us.push_back(watch.microseconds());
  }
  return us;
}

} // namespace

findings measure_planning(const settings& how) {
  constexpr std::size_t plans_a_run = 10;
  constexpr double most_us = 100;
  const shape one_run{1, fragments, handoff::pool_order::block_first};
  const shape many_runs{160, fragments / 160, handoff::pool_order::tensor};
  const auto count = how.runs * plans_a_run;
  return {
      {{"1 run x 100,000 blocks", "us", summarize(time_plans(one_run, count)), at_most(most_us)},
       {"160 runs x 625 blocks", "us", summarize(time_plans(many_runs, count)), at_most(most_us)}},
      {}};
}

} // namespace baton::bench
