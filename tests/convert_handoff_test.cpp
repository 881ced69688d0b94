// Requests between instances of unlike types, through real ranks, links and lanes.
#include <algorithm>

#include <boost/test/unit_test.hpp>

#include "tests/support/conversions.hpp"
#include "tests/support/nodes.hpp"

using namespace baton;
using namespace baton::test;

namespace {

constexpr std::uint32_t tokens = 50;
constexpr std::uint32_t first_block = 3;

/// bf16 on two context ranks of two heads each, to three scales of fp8 on four generation ranks.
deployment::shape unlike(element_type to, lane_policy lane) {
  deployment::shape form;
  form.model.layers = 3;
  form.model.kv_heads = 4;
  form.model.head_dim = 24;
  form.context.tp = 2;
  form.generation.tp = 4;
  form.generation.tokens_per_block = 8;
  form.generation_type = to;
  form.lanes.lanes = lane;
  form.change_generation = [](rank_layout& rank) {
    for (auto& buffer : rank.groups[0].buffers)
      if (buffer.type == element_type::fp8_e4m3)
        buffer.scales = {0.02f * static_cast<float>(1 + buffer.first_head % 3)};
  };
  return form;
}

std::vector<group_blocks> tables_of(node& rank) {
  const auto per_block = rank.layout().groups[0].tokens_per_block;
  group_blocks table{"full", 0, {}};
  for (std::uint32_t token = 0; token < tokens; token += per_block)
    table.blocks.push_back(first_block + token / per_block);
  return {table};
}

void write(node& rank, std::byte* pool) {
  write_content(rank.layout(), tables_of(rank), {{"full", {0, tokens}}},
                [](const buffer_layout&) { return element_type::bf16; }, {pool});
}

void hand_over(deployment& world) {
  for (auto& rank : world.contexts) {
    write(*rank, rank->plane().pool(0).data());
    BOOST_REQUIRE(rank->door().respond_and_send_async(world.slice(1, first_block, tokens)));
  }
  for (auto& rank : world.generations)
    std::ranges::fill(rank->plane().pool(0).memory(), std::byte{0xee});
  for (std::size_t i = 0; i < world.generations.size(); ++i)
    BOOST_REQUIRE(
        world.generation(i).door().request_and_receive_async(world.wish(1, first_block, tokens)));
}

} // namespace

BOOST_AUTO_TEST_SUITE(converting_requests)

BOOST_AUTO_TEST_CASE(a_request_is_converted_between_instances_of_unlike_heads_and_blocks) {
  for (const auto lane : {lane_policy::mapped, lane_policy::ucx})
    for (const auto to : {element_type::fp8_e4m3, element_type::fp32}) {
      deployment world{unlike(to, lane)};
      hand_over(world);
      for (auto& rank : world.generations) {
        const auto ended = rank->door().check_gen_transfer_status(1);
        BOOST_REQUIRE(ended.size() == 1u);
        BOOST_TEST_REQUIRE(ended[0].completed());
        BOOST_TEST(ended[0].bytes == 3u * 2 * 24 * 2 * tokens);
        const auto& pool = rank->plane().pool(0);
        std::vector<std::byte> wanted(pool.size(), std::byte{0xee});
        write(*rank, wanted.data());
        BOOST_TEST(std::ranges::equal(wanted, pool.memory()));
      }
      BOOST_TEST(world.leftovers() == "");
    }
}

BOOST_AUTO_TEST_CASE(types_between_which_there_is_no_conversion_are_refused_by_name) {
  deployment world{unlike(element_type::int8, lane_policy::mapped)};
  const auto result =
      world.generation().door().request_and_receive_sync(world.wish(1, first_block, tokens));
  BOOST_REQUIRE(result.failure.has_value());
  BOOST_TEST(to_string(result.failure->code) == "incompatible_layout");
  BOOST_TEST(result.failure->text.find("type: bf16 in context c rank 0, but int8 in generation g "
                                       "rank 0; bf16 converts to fp32, fp16 or fp8_e4m3") !=
                 std::string::npos,
             result.failure->text);
}

BOOST_AUTO_TEST_SUITE_END()
