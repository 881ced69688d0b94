// Plans that convert, and their streams, against an oracle that knows coordinates only.
#include <algorithm>
#include <numeric>

#include <boost/test/unit_test.hpp>

#include "tests/support/conversions.hpp"
#include "tests/support/layouts.hpp"
#include "transport/plan/plan_stream.hpp"

namespace baton {

namespace {

using tests::chance;
using tests::pick;

/// The pools of one rank, and a request's blocks in them.
struct cache {
  explicit cache(const rank_layout& layout) : rank{layout} {
    for (const auto& pool : layout.pools)
      memory.emplace_back(pool.bytes(), std::byte{0xa5});
  }

  [[nodiscard]] test::pool_bytes starts() {
    test::pool_bytes all;
    for (auto& pool : memory)
      all.push_back(pool.data());
    return all;
  }

  rank_layout rank;
  std::vector<std::vector<std::byte>> memory;
  std::vector<group_blocks> tables;
};

using request = std::vector<group_range>;

request draw_request(std::mt19937_64& random, const std::vector<rank_layout>& ranks) {
  request drawn;
  for (const auto& rank : ranks)
    for (const auto& group : rank.groups) {
      if (std::ranges::find(drawn, group.name, &group_range::group) != drawn.end())
        continue;
      const auto end = group.tokens_per_block == 0 ? 1 : pick(random, 1, 40);
      drawn.push_back(
          {group.name, {group.tokens_per_block == 0 ? 0 : pick(random, 0, end - 1), end}});
    }
  return drawn;
}

void draw_tables(std::mt19937_64& random, cache& of, const request& tokens) {
  for (const auto& range : tokens) {
    const auto index = of.rank.find_group(range.group);
    if (!index)
      continue;
    const auto& group = of.rank.groups[*index];
    const auto per_block = std::max(group.tokens_per_block, 1u);
    std::vector<std::uint32_t> ids(of.rank.pools[group.buffers.front().pool].slots);
    std::iota(ids.begin(), ids.end(), 0u);
    std::ranges::shuffle(ids, random);
    ids.resize((range.tokens.end + per_block - 1) / per_block);
    of.tables.push_back({range.group, 0, std::move(ids)});
  }
}

plan_stream stream_of(const planner& maker, const request& tokens, const cache* source,
                      const cache* destination) {
  std::vector<plan_blocks> blocks;
  const auto find = [](const cache* in, const std::string& group) -> const group_blocks* {
    if (in == nullptr)
      return nullptr;
    const auto found = std::ranges::find(in->tables, group, &group_blocks::group);
    return found == in->tables.end() ? nullptr : &*found;
  };
  for (const auto& range : tokens)
    blocks.push_back(
        {range.group, range.tokens, find(source, range.group), find(destination, range.group)});
  auto made = maker.make(blocks);
  BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().text));
  return plan_stream{std::move(*made)};
}

/// Hands over directly, and by chunks of a stream.
void hand_over(std::mt19937_64& random, const planner& maker, const request& tokens, cache& source,
               cache& direct, cache& streamed) {
  const auto whole = stream_of(maker, tokens, &source, &direct);
  const auto starts = source.starts();
  const std::vector<const std::byte*> from{starts.begin(), starts.end()};
  const auto by_chunks = [&](const plan_stream& stream, std::uint64_t most, const auto& move) {
    const stream_chunks chunks{stream, most};
    for (std::size_t i = 0; i < chunks.count(); ++i) {
      BOOST_TEST_REQUIRE((chunks.bytes(i) > 0 && chunks.bytes(i) <= most));
      move(chunks.begin(i), chunks.bytes(i));
    }
    BOOST_TEST_REQUIRE(chunks.begin(chunks.count()) == stream.bytes());
  };
  by_chunks(whole, pick(random, 128, 4096), [&](std::uint64_t at, std::uint64_t bytes) {
    copy_range(whole, at, bytes, from, direct.starts(), copy_mode::cached);
  });
  const auto sending = stream_of(maker, tokens, &source, nullptr);
  const auto receiving = stream_of(maker, tokens, nullptr, &streamed);
  BOOST_TEST_REQUIRE(sending.bytes() == receiving.bytes());
  std::vector<std::byte> staged;
  by_chunks(receiving, pick(random, 128, 4096), [&](std::uint64_t at, std::uint64_t bytes) {
    staged.assign(bytes, std::byte{0});
    gather_range(sending, at, bytes, from, staged.data());
    scatter_range(receiving, at, bytes, staged.data(), streamed.starts(), copy_mode::streaming);
  });
}

test::source_type types_of(const std::vector<rank_layout>& context) {
  return [&](const buffer_layout& wanted) {
    for (const auto& rank : context)
      for (const auto& group : rank.groups)
        for (const auto& buffer : group.buffers)
          if (buffer.layer == wanted.layer && buffer.role == wanted.role)
            return buffer.type;
    return wanted.type;
  };
}

void check_receiver(std::mt19937_64& random, const tests::instances& given, const pair_table& table,
                    const rank_layout& receiver, const request& tokens) {
  cache direct{receiver};
  draw_tables(random, direct, tokens);
  auto streamed = direct;
  auto wanted = direct;
  const auto types = types_of(given.context);
  test::write_content(receiver, wanted.tables, tokens, types, wanted.starts());
  for (auto number : table.sources_of(receiver.rank)) {
    cache source{given.context[number]};
    draw_tables(random, source, tokens);
    test::write_content(source.rank, source.tables, tokens, types, source.starts());
    const planner maker{source.rank, receiver, *table.find(number, receiver.rank)};
    hand_over(random, maker, tokens, source, direct, streamed);
  }
  BOOST_TEST_REQUIRE((direct.memory == wanted.memory));
  BOOST_TEST_REQUIRE((streamed.memory == wanted.memory));
}

/// Lets both sides keep their keys as bytes, odd numbers of which then lie before elements that are
/// converted.
void keep_keys_as_bytes(tests::instances& given) {
  for (auto* side : {&given.context, &given.generation})
    for (auto& rank : *side)
      for (auto& group : rank.groups)
        for (auto& buffer : group.buffers)
          if (buffer.role == cache_role::key)
            buffer.type = element_type::byte;
}

/// Gives the generation scales for what the context does not keep in fp8 too: these must agree.
void draw_scales(std::mt19937_64& random, tests::instances& given) {
  test::draw_scales(random, given.generation);
  const auto types = types_of(given.context);
  for (auto& rank : given.generation)
    for (auto& group : rank.groups)
      for (auto& buffer : group.buffers)
        if (types(buffer) == element_type::fp8_e4m3)
          buffer.scales.clear();
}

std::vector<rank_layout> one_rank(element_type type, instance_role role) {
  handoff::model_spec model;
  model.layers = 2;
  model.kv_heads = 4;
  model.head_dim = 8;
  model.type = type;
  handoff::side_spec side;
  side.tokens_per_block = 4;
  side.blocks = 16;
  auto ranks = tests::build(model, side, role);
  ranks.front().model = "sample";
  return ranks;
}

run_template template_of(const std::vector<rank_layout>& context,
                         const std::vector<rank_layout>& generation) {
  const auto table = make_pairs(context, 0, generation, 0);
  BOOST_REQUIRE(table.has_value());
  const planner maker{context[0], generation[0], *table->find(0, 0)};
  const group_blocks blocks{"full", 0, {3}};
  const plan_blocks given{"full", {0, 4}, &blocks, &blocks};
  const auto made = maker.make({&given, 1});
  BOOST_REQUIRE(made.has_value());
  return *made->parts.front().shape;
}

} // namespace

BOOST_AUTO_TEST_SUITE(converting_plans)

BOOST_AUTO_TEST_CASE(random_layouts_are_converted_element_by_element) {
  std::mt19937_64 random{tests::seed()};
  for (int i = 0; i < 1000; ++i) {
    auto given = tests::random_converting_instances(random);
    if (chance(random, 40))
      keep_keys_as_bytes(given);
    draw_scales(random, given);
    const auto tokens = draw_request(random, given.generation);
    BOOST_TEST_CONTEXT("case " << i << ": " << given.text) {
      for (const auto* side : {&given.context, &given.generation}) {
        for (const auto& rank : *side) {
          const auto ok = validate(rank);
          BOOST_REQUIRE_MESSAGE(ok.has_value(), (ok ? "" : ok.error().text));
        }
        const auto ok = validate_instance(*side);
        BOOST_REQUIRE_MESSAGE(ok.has_value(), (ok ? "" : ok.error().text));
      }
      const auto ok = compatible_instances(given.context, given.generation);
      BOOST_REQUIRE_MESSAGE(ok.has_value(), (ok ? "" : ok.error().text));
      const auto table = make_pairs(given.context, 0, given.generation, 0);
      BOOST_REQUIRE(table.has_value());
      for (const auto& rank : given.generation)
        if (rank.dp_rank() == 0)
          check_receiver(random, given, *table, rank, tokens);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_contiguous_on_both_sides_is_one_run_although_it_is_converted) {
  const auto shape = template_of(one_rank(element_type::bf16, instance_role::context),
                                 one_rank(element_type::fp32, instance_role::generation));
  BOOST_TEST(shape.runs.size() == 1u);
  BOOST_TEST(shape.bytes == 2u * 2 * 4 * 4 * 16);
  BOOST_TEST(shape.grain == 2u);
  BOOST_TEST(shape.lanes.front().as.written(shape.bytes) == 2 * shape.bytes);
}

BOOST_AUTO_TEST_CASE(heads_of_unlike_scales_are_runs_of_their_own) {
  const auto context = one_rank(element_type::fp32, instance_role::context);
  auto generation = one_rank(element_type::fp8_e4m3, instance_role::generation);
  auto& buffers = generation[0].groups[0].buffers;
  buffers[0].scales = {0.5f, 0.5f, 0.25f, 0.25f};
  buffers[1].scales = {2};
  const auto shape = template_of(context, generation);
  BOOST_TEST(shape.runs.size() == 4u);
  std::vector<float> factors;
  for (const auto& item : shape.runs)
    factors.push_back(shape.lanes[item.lane].as.factor);
  BOOST_TEST(factors == (std::vector{2.0f, 4.0f, 0.5f, 1.0f}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(scales_of_equal_types_change_nothing) {
  auto context = one_rank(element_type::fp8_e4m3, instance_role::context);
  auto generation = one_rank(element_type::fp8_e4m3, instance_role::generation);
  for (auto* side : {&context, &generation})
    side->front().groups[0].buffers[0].scales = {0.5f, 0.25f, 1, 2};
  const auto shape = template_of(context, generation);
  BOOST_TEST(shape.runs.size() == 1u);
  BOOST_TEST(shape.grain == 1u);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
