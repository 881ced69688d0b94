#include "tests/support/layouts.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <numeric>
#include <tuple>

#include <boost/test/unit_test.hpp>
#include <fmt/ranges.h>

#include "messages/conversion.hpp"

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
  side.blocks = 128 / side.tokens_per_block + pick(random, 4, 12);
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

/// What the scenario's models do not have, alike on both sides.
struct extras {
  std::uint32_t scale_dim = 0; ///< of block scales for key and value; 0: none
  element_type scale_type = element_type::fp32;
  std::uint32_t indexer_dim = 0; ///< of a cache of indexer keys, one head on every rank; 0: none
  std::vector<std::uint32_t> sections; ///< elements of each section of the convolution; empty: none
  element_type section_type = element_type::bf16;
};

extras random_extras(std::mt19937_64& random, const model_spec& model) {
  extras more;
  if (chance(random, 30) && !model.mla)
    more.scale_dim = pick(random, 1, 2);
  more.scale_type = chance(random, 50) ? element_type::fp32 : element_type::byte;
  if (chance(random, 30))
    more.indexer_dim = pick(random, 1, 3);
  if (model.state && chance(random, 60))
    for (auto count = pick(random, 1, 3); count > 0; --count)
      more.sections.push_back(pick(random, 8, 24));
  more.section_type = chance(random, 50) ? element_type::bf16 : element_type::byte;
  return more;
}

/// Puts buffers, packed in this order, into the slots of their group's pool, or into a pool of
/// their own where that has another order.
void place(rank_layout& rank, group_layout& group, std::vector<buffer_layout> buffers, bool hnd) {
  if (buffers.empty())
    return;
  const auto pool = group.buffers.front().pool;
  const bool shared = std::ranges::all_of(group.buffers, [&](const buffer_layout& buffer) {
    return buffer.pool == pool && buffer.slot_stride == rank.pools[pool].slot_bytes;
  });
  const auto target = shared ? pool : static_cast<std::uint32_t>(rank.pools.size());
  if (!shared)
    rank.pools.push_back({memory_kind::host, 0, {}, 0, rank.pools[pool].slots});
  auto& slot_bytes = rank.pools[target].slot_bytes;
  const auto tokens = std::max(group.tokens_per_block, 1u);
  for (auto& buffer : buffers) {
    const auto row = buffer.row_bytes();
    buffer.pool = target;
    buffer.offset = slot_bytes;
    buffer.head_stride = hnd ? row * tokens : row;
    buffer.token_stride = hnd ? row : row * buffer.head_count;
    slot_bytes += row * tokens * buffer.head_count;
  }
  std::ranges::move(buffers, std::back_inserter(group.buffers));
  for (auto& buffer : group.buffers)
    if (buffer.pool == target)
      buffer.slot_stride = slot_bytes;
  std::ranges::sort(group.buffers, {}, [](const buffer_layout& buffer) {
    return std::tuple{buffer.layer, buffer.role, buffer.section};
  });
}

std::vector<buffer_layout> beside_keys(const group_layout& group, const extras& more) {
  std::vector<buffer_layout> buffers;
  const auto add = [&](buffer_layout buffer, cache_role role, std::uint32_t dim,
                       element_type type) {
    buffer.role = role;
    buffer.head_dim = dim;
    buffer.type = type;
    if (dim > 0)
      buffers.push_back(buffer);
  };
  for (auto buffer : group.buffers) {
    if (buffer.role == cache_role::key)
      add(buffer, cache_role::key_scale, more.scale_dim, more.scale_type);
    if (buffer.role == cache_role::value)
      add(buffer, cache_role::value_scale, more.scale_dim, more.scale_type);
    buffer.first_head = 0;
    buffer.head_count = buffer.total_heads = 1;
    if (buffer.role == cache_role::key || buffer.role == cache_role::latent)
      add(buffer, cache_role::indexer_key, more.indexer_dim, element_type::fp8_e4m3);
  }
  return buffers;
}

std::vector<buffer_layout> sections_of(const rank_layout& rank, const group_layout& group,
                                       const extras& more) {
  std::vector<buffer_layout> buffers;
  const auto shard = rank.attention_dp ? 0 : rank.tp_rank();
  const auto shards = rank.attention_dp ? 1 : rank.tp_size;
  for (auto buffer : group.buffers) {
    if (buffer.role != cache_role::ssm)
      continue;
    buffer.role = cache_role::conv;
    buffer.head_dim = 1;
    buffer.type = more.section_type;
    for (buffer.section = 0; buffer.section < more.sections.size(); ++buffer.section) {
      buffer.total_heads = more.sections[buffer.section];
      buffer.first_head = buffer.total_heads * shard / shards;
      buffer.head_count = buffer.total_heads * (shard + 1) / shards - buffer.first_head;
      buffers.push_back(buffer);
    }
  }
  return buffers;
}

void add_extras(std::mt19937_64& random, std::vector<rank_layout>& ranks, const extras& more) {
  const bool hnd = chance(random, 50);
  for (auto& rank : ranks)
    for (auto& group : rank.groups) {
      if (group.is_state() && !more.sections.empty()) {
        auto sections = sections_of(rank, group, more);
        std::erase_if(group.buffers,
                      [](const buffer_layout& buffer) { return buffer.role == cache_role::conv; });
        place(rank, group, std::move(sections), hnd);
      } else if (!group.is_state()) {
        place(rank, group, beside_keys(group, more), hnd);
      }
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

namespace {

instances instances_of(std::mt19937_64& random, const model_spec& kept, const model_spec& wanted) {
  const auto context = random_side(random, kept);
  const auto generation = random_side(random, wanted);
  const auto more = random_extras(random, kept);
  instances result{build(kept, context, instance_role::context),
                   build(wanted, generation, instance_role::generation),
                   fmt::format("layers{} heads{} dim{} mla{} groups{} state{} scales{} indexer{} "
                               "sections{}: {} -> {}",
                               kept.layers, kept.kv_heads, kept.head_dim, kept.mla,
                               kept.groups.size(), kept.state.has_value(), more.scale_dim,
                               more.indexer_dim, more.sections, describe(context),
                               describe(generation))};
  add_extras(random, result.context, more);
  add_extras(random, result.generation, more);
  disarrange(random, result.context);
  disarrange(random, result.generation);
  return result;
}

} // namespace

instances random_instances(std::mt19937_64& random) {
  const auto model = random_model(random);
  return instances_of(random, model, model);
}

instances random_converting_instances(std::mt19937_64& random) {
  const auto types = conversions[pick(random, 0, conversions.size() - 1)];
  auto kept = random_model(random);
  kept.type = types.from;
  auto wanted = kept;
  wanted.type = types.to;
  auto result = instances_of(random, kept, wanted);
  for (auto& rank : result.generation)
    rank.model = result.context.front().model;
  result.text += fmt::format(", {} -> {}", to_string(types.from), to_string(types.to));
  return result;
}

} // namespace baton::tests
