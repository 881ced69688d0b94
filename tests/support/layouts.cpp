#include "tests/support/layouts.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <numeric>

#include <boost/test/unit_test.hpp>
#include <fmt/ranges.h>

namespace baton::tests {

namespace {

using handoff::model_spec;
using handoff::side_spec;

std::vector<handoff::group_spec> random_groups(std::mt19937_64& random, std::uint32_t layers) {
  std::vector<handoff::group_spec> groups;
  for (std::uint32_t layer = 0; layer < layers; ++layer) {
    const auto name = fmt::format("group{}", pick(random, 0, 2));
    auto found = std::ranges::find(groups, name, &handoff::group_spec::name);
    if (found == groups.end())
      found = groups.insert(found, {name, {}, pick(random, 0, 1) * pick(random, 1, 20)});
    found->layers.push_back(layer);
  }
  return groups;
}

/// Takes the last layer from the attention groups.
void add_state(std::mt19937_64& random, model_spec& model) {
  const auto layer = model.layers++;
  if (model.groups.empty() && chance(random, 50))
    model.groups = random_groups(random, layer);
  model.state =
      handoff::state_spec{{layer}, pick(random, 0, 20), pick(random, 8, 11), pick(random, 1, 5)};
}

model_spec random_model(std::mt19937_64& random) {
  model_spec model;
  model.layers = pick(random, 1, 5);
  model.mla = chance(random, 15);
  model.kv_heads = model.mla ? 1 : std::array{1u, 2u, 3u, 4u, 6u, 8u}[pick(random, 0, 5)];
  model.head_dim = pick(random, 1, 4);
  model.type =
      std::array{element_type::fp32, element_type::bf16, element_type::int8}[pick(random, 0, 2)];
  if (chance(random, 40))
    model.groups = random_groups(random, model.layers);
  if (chance(random, 20))
    add_state(random, model);
  return model;
}

std::vector<std::uint32_t> random_stages(std::mt19937_64& random, std::uint32_t layers,
                                         std::uint32_t stages) {
  std::vector<std::uint32_t> counts(stages, 1);
  for (auto left = layers - stages; left > 0; --left)
    ++counts[pick(random, 0, stages - 1)];
  return counts;
}

side_spec random_side(std::mt19937_64& random, const model_spec& model) {
  side_spec side;
  side.tp = std::array{1u, 2u, 3u, 4u, 8u}[pick(random, 0, 4)];
  side.pp = pick(random, 1, std::min(model.layers, 3u));
  if (chance(random, 50))
    side.pp_layers = random_stages(random, model.layers, side.pp);
  side.attention_dp = chance(random, 20);
  side.tokens_per_block = std::array{1u, 2u, 3u, 4u, 5u, 8u}[pick(random, 0, 5)];
  side.inner = static_cast<handoff::inner_order>(pick(random, 0, 1));
  side.pool = static_cast<handoff::pool_order>(pick(random, 0, 2));
  side.blocks = 64 / side.tokens_per_block + pick(random, 1, 8);
  return side;
}

/// Moves every row to `factor` times its address.
void spread(rank_layout& rank, std::uint32_t factor) {
  for (auto& pool : rank.pools)
    pool.slot_bytes *= factor;
  for (auto& group : rank.groups)
    for (auto& buffer : group.buffers)
      for (auto* value :
           {&buffer.offset, &buffer.slot_stride, &buffer.head_stride, &buffer.token_stride})
        *value *= factor;
}

/// Leaves room before and behind each slot, in pools whose slots are whole.
void pad_slots(rank_layout& rank, std::uint32_t before, std::uint32_t behind) {
  for (auto& group : rank.groups)
    for (auto& buffer : group.buffers)
      if (buffer.slot_stride == rank.pools[buffer.pool].slot_bytes) {
        buffer.offset += before;
        buffer.slot_stride += before + behind;
      }
  for (std::uint32_t pool = 0; pool < rank.pools.size(); ++pool)
    for (const auto& group : rank.groups)
      for (const auto& buffer : group.buffers)
        if (buffer.pool == pool)
          rank.pools[pool].slot_bytes = std::max(rank.pools[pool].slot_bytes, buffer.slot_stride);
}

/// Puts each layer's value before its key.
void swap_key_and_value(rank_layout& rank) {
  for (auto& group : rank.groups)
    for (std::size_t i = 1; i < group.buffers.size(); ++i)
      if (group.buffers[i].role == cache_role::value) {
        std::swap(group.buffers[i].offset, group.buffers[i - 1].offset);
        std::swap(group.buffers[i].pool, group.buffers[i - 1].pool);
      }
}

void disarrange(std::mt19937_64& random, std::vector<rank_layout>& ranks) {
  const auto kind = pick(random, 0, 3);
  const bool swapped = chance(random, 30);
  for (auto& rank : ranks) {
    if (swapped)
      swap_key_and_value(rank);
    if (kind == 0)
      spread(rank, pick(random, 2, 3));
    if (kind == 1)
      pad_slots(rank, pick(random, 0, 5), pick(random, 1, 5));
  }
}

std::string describe(const side_spec& side) {
  return fmt::format("tp{} pp{} {} dp{} tokens{} inner{} pool{}", side.tp, side.pp, side.pp_layers,
                     side.attention_dp ? 1 : 0, side.tokens_per_block, static_cast<int>(side.inner),
                     static_cast<int>(side.pool));
}

} // namespace

std::uint64_t seed() {
  const char* given = std::getenv("BATON_SEED");
  const std::uint64_t value = given != nullptr ? std::strtoull(given, nullptr, 10) : 20'240'611;
  std::cout << "BATON_SEED=" << value << std::endl;
  return value;
}

std::uint32_t pick(std::mt19937_64& random, std::uint32_t low, std::uint32_t high) {
  return std::uniform_int_distribution<std::uint32_t>{low, high}(random);
}

bool chance(std::mt19937_64& random, std::uint32_t percent) {
  return pick(random, 1, 100) <= percent;
}

std::vector<rank_layout> build(const handoff::model_spec& model, const handoff::side_spec& side,
                               instance_role role) {
  auto ranks = handoff::build_instance(model, side, role, std::string{to_string(role)});
  BOOST_REQUIRE_MESSAGE(ranks.has_value(), (ranks ? "" : ranks.error().text));
  for (auto& rank : *ranks)
    rank.life = incarnation{1000 * static_cast<std::uint64_t>(role) + rank.rank};
  return std::move(*ranks);
}

instances random_instances(std::mt19937_64& random) {
  const auto model = random_model(random);
  const auto context = random_side(random, model);
  const auto generation = random_side(random, model);
  instances result{build(model, context, instance_role::context),
                   build(model, generation, instance_role::generation),
                   fmt::format("layers{} heads{} dim{} mla{} groups{} state{}: {} -> {}",
                               model.layers, model.kv_heads, model.head_dim, model.mla,
                               model.groups.size(), model.state.has_value(), describe(context),
                               describe(generation))};
  disarrange(random, result.context);
  disarrange(random, result.generation);
  return result;
}

} // namespace baton::tests
