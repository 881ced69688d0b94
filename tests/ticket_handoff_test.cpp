// Requests handed over by ticket, through real doors in one process.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <thread>
#include <vector>

#include "examples/support/value_of.hpp"
#include "messages/params.hpp"
#include "messages/ticket.hpp"
#include "tests/support/nodes.hpp"

using namespace baton;
using namespace baton::test;
using namespace std::chrono_literals;
using baton::examples::value_of;
using boost::unit_test::data::make;

namespace {

constexpr bool over_ucx[] = {false, true};

lane_policy lanes_of(bool ucx) {
  return ucx ? lane_policy::ucx : lane_policy::mapped;
}

struct sizes {
  std::uint32_t tp;
  std::uint32_t pp;
  std::uint32_t tokens_per_block;
};

deployment::shape shape_of(lane_policy lanes, sizes context = {1, 1, 4},
                           sizes generation = {1, 1, 4}) {
  deployment::shape form;
  form.model.layers = 4;
  form.model.kv_heads = 4;
  form.lanes.lanes = lanes;
  const auto set = [](handoff::side_spec& side, const sizes& size) {
    side.tp = size.tp;
    side.pp = size.pp;
    side.tokens_per_block = size.tokens_per_block;
  };
  set(form.context, context);
  set(form.generation, generation);
  return form;
}

/// Offers 16 tokens on all context ranks, from a block on that depends on the id.
void offer(deployment& world, std::uint64_t id, std::uint8_t byte) {
  const auto slice = world.slice(id, static_cast<std::uint32_t>(4 * id), 16);
  for (auto& rank : world.contexts) {
    for (const auto block : slice.blocks[0].blocks)
      rank->fill(block, byte);
    BOOST_REQUIRE(rank->door().respond_and_send_async(slice).has_value());
  }
}

receive_request wish_by(deployment& world, const disaggregated_params& params, std::uint64_t id) {
  auto wish = world.wish(id, static_cast<std::uint32_t>(4 * id), 16);
  wish.context = value_of(decode_params(encode(params)));
  return wish;
}

std::vector<outcome> receive_all(deployment& world, const receive_request& wish) {
  for (auto& rank : world.generations)
    BOOST_REQUIRE(rank->door().request_and_receive_async(wish).has_value());
  std::vector<outcome> all;
  for (auto& rank : world.generations)
    for (auto& one : rank->door().check_gen_transfer_status(1))
      all.push_back(std::move(one));
  BOOST_REQUIRE(all.size() == world.generations.size());
  return all;
}

void check_received(deployment& world, const receive_request& wish, std::uint8_t byte,
                    ticket_use expected) {
  for (const auto& one : receive_all(world, wish)) {
    BOOST_TEST(one.completed(), (one.failure ? to_string(*one.failure) : ""));
    BOOST_TEST(one.attempts == 1u);
    for (const auto& source : one.sources)
      BOOST_TEST((source.ticket == expected));
  }
  for (auto& rank : world.generations)
    for (const auto block : wish.blocks[0].blocks)
      BOOST_TEST(rank->holds(block, byte));
}

void check_sent(deployment& world) {
  for (auto& rank : world.contexts)
    for (const auto& one : rank->door().check_context_transfer_status(1))
      BOOST_TEST(one.completed(), (one.failure ? to_string(*one.failure) : ""));
}

} // namespace

BOOST_AUTO_TEST_SUITE(ticket_handoff)

BOOST_DATA_TEST_CASE(every_rank_reads_by_ticket, make(over_ucx), ucx) {
  for (const auto& to : {sizes{1, 1, 8}, sizes{4, 1, 2}, sizes{1, 4, 4}}) {
    deployment world{shape_of(lanes_of(ucx), {2, 2, 4}, to)};
    for (const std::uint64_t id : {1, 2}) {
      const auto byte = static_cast<std::uint8_t>(16 * id);
      offer(world, id, byte);
      // Any rank can give it.
      const auto params = world.context(id).door().get_disaggregated_params(request_id{id}, 2s);
      BOOST_REQUIRE(params.ticket != nullptr);
      BOOST_TEST(params.ticket->ranks.size() == 4u);
      BOOST_TEST(params.ticket->tables.size() == 1u);
      check_received(world, wish_by(world, params, id), byte, ticket_use::used);
      check_sent(world);
    }
    BOOST_TEST(world.leftovers() == "");
  }
}

BOOST_DATA_TEST_CASE(beams_that_share_other_tokens_read_by_ticket, make(over_ucx), ucx) {
  deployment world{shape_of(lanes_of(ucx), {1, 1, 4}, {1, 1, 8})};
  auto slice = world.slice(1, 0, 16);
  slice.blocks[0].tails = {{8, {10, 11}}};
  for (const auto block : {0, 1, 2, 3})
    world.context().fill(static_cast<std::uint32_t>(block), 0x11);
  for (const auto block : {10u, 11u})
    world.context().fill(block, 0x22);
  BOOST_REQUIRE(world.context().door().respond_and_send_async(slice).has_value());
  const auto params = world.context().door().get_disaggregated_params(request_id{1}, 2s);
  BOOST_REQUIRE(params.ticket != nullptr);
  auto wish = world.wish(1, 0, 16);
  wish.context = params;
  wish.blocks[0].tails = {{0, {20, 21}}};
  const auto result = world.generation().door().request_and_receive_sync(wish);
  BOOST_REQUIRE_MESSAGE(result.completed(), to_string(result.failure.value_or(error{})));
  BOOST_TEST((result.sources.at(0).ticket == ticket_use::used));
  BOOST_TEST(world.generation().holds(0, 0x11));
  BOOST_TEST(world.generation().holds(1, 0x11));
  BOOST_TEST(world.generation().holds(20, 0x11));
  BOOST_TEST(world.generation().holds(21, 0x22));
  BOOST_TEST(world.leftovers() == "");
}

BOOST_AUTO_TEST_CASE(aux_data_and_slices_go_with_the_ticket) {
  deployment world{shape_of(lane_policy::automatic)};
  auto slice = world.slice(1, 0, 8);
  slice.last = false;
  BOOST_REQUIRE(world.context().door().respond_and_send_async(slice).has_value());
  // Not all of it is there.
  auto params = world.context().door().get_disaggregated_params(request_id{1}, 20ms);
  BOOST_TEST(params.ticket == nullptr);
  slice = world.slice(1, 0, 16);
  slice.tokens.begin = 8;
  slice.aux = aux_data{{1, 2}, {3}, "opaque"};
  BOOST_REQUIRE(world.context().door().respond_and_send_async(slice).has_value());
  params = world.context().door().get_disaggregated_params(request_id{1}, 2s);
  BOOST_REQUIRE(params.ticket != nullptr);
  auto wish = world.wish(1, 0, 16);
  wish.context = value_of(decode_params(encode(params)));
  const auto result = world.generation().door().request_and_receive_sync(wish);
  BOOST_REQUIRE(result.completed());
  BOOST_TEST((result.sources.at(0).ticket == ticket_use::used));
  BOOST_TEST((result.aux == slice.aux));
}

BOOST_AUTO_TEST_CASE(large_aux_data_are_asked_for) {
  deployment world{shape_of(lane_policy::automatic)};
  auto slice = world.slice(1, 0, 16);
  slice.aux = aux_data{{}, {}, std::string(ticket_bytes, 'x')};
  BOOST_REQUIRE(world.context().door().respond_and_send_async(slice).has_value());
  const auto params = world.context().door().get_disaggregated_params(request_id{1}, 2s);
  BOOST_REQUIRE(params.ticket != nullptr);
  auto wish = world.wish(1, 0, 16);
  wish.context = value_of(decode_params(encode(params)));
  const auto result = world.generation().door().request_and_receive_sync(wish);
  BOOST_REQUIRE(result.completed());
  BOOST_TEST((result.sources.at(0).ticket == ticket_use::refused));
  BOOST_TEST((result.aux == slice.aux));
  BOOST_TEST(world.leftovers() == "");
}

BOOST_AUTO_TEST_CASE(a_rank_that_offers_nothing_leaves_all_without_a_ticket) {
  deployment world{shape_of(lane_policy::automatic, {2, 1, 4})};
  BOOST_REQUIRE(world.context(1).door().respond_and_send_async(world.slice(1, 0, 16)).has_value());
  const auto begin = std::chrono::steady_clock::now();
  const auto params = world.context(1).door().get_disaggregated_params(request_id{1}, 50ms);
  BOOST_TEST((std::chrono::steady_clock::now() - begin < 2s));
  BOOST_TEST((params == world.context(1).door().get_disaggregated_params()));
  // Nor does a generation rank give any.
  BOOST_TEST(world.generation().door().get_disaggregated_params(request_id{1}).ticket == nullptr);
  BOOST_TEST(world.context(1).door().cancel_request(request_id{1}));
  BOOST_TEST(world.leftovers() == "");
}

BOOST_AUTO_TEST_CASE(a_ticket_is_of_one_dp_group) {
  auto form = shape_of(lane_policy::automatic, {2, 2, 4}, {1, 1, 4});
  form.context.attention_dp = true;
  deployment world{form};
  const auto slice = world.slice(1, 4, 16);
  for (auto& rank : world.contexts)
    if (rank->layout().dp_rank() == 1) {
      for (const auto block : slice.blocks[0].blocks)
        rank->fill(block, 0x44);
      BOOST_REQUIRE(rank->door().respond_and_send_async(slice).has_value());
    }
  const auto params = world.context(3).door().get_disaggregated_params(request_id{1}, 2s);
  BOOST_TEST(params.dp_rank == 1u);
  BOOST_REQUIRE(params.ticket != nullptr);
  BOOST_TEST(params.ticket->ranks.size() == 2u);
  check_received(world, wish_by(world, params, 1), 0x44, ticket_use::used);
  BOOST_TEST(world.leftovers() == "");
}

BOOST_DATA_TEST_CASE(a_ticket_of_a_request_that_is_over_brings_the_reason, make(over_ucx), ucx) {
  deployment world{shape_of(lanes_of(ucx), {2, 1, 4}, {1, 1, 4})};
  offer(world, 1, 0x11);
  const auto params = world.context().door().get_disaggregated_params(request_id{1}, 2s);
  BOOST_REQUIRE(params.ticket != nullptr);
  check_received(world, wish_by(world, params, 1), 0x11, ticket_use::used);
  check_sent(world);
  auto again = receive_all(world, wish_by(world, params, 1));
  BOOST_REQUIRE(again[0].failure.has_value());
  BOOST_TEST((again[0].failure->code == errc::unknown_request));
  BOOST_TEST_MESSAGE(again[0].failure->text);

  offer(world, 2, 0x22);
  const auto cancelled = world.context().door().get_disaggregated_params(request_id{2}, 2s);
  BOOST_REQUIRE(cancelled.ticket != nullptr);
  for (auto& rank : world.contexts)
    BOOST_TEST(rank->door().cancel_request(request_id{2}));
  again = receive_all(world, wish_by(world, cancelled, 2));
  BOOST_REQUIRE(again[0].failure.has_value());
  BOOST_TEST((again[0].failure->code == errc::cancelled));
  BOOST_TEST(world.leftovers() == "");
}

BOOST_DATA_TEST_CASE(a_ticket_of_an_earlier_offer_falls_back_to_asking, make(over_ucx), ucx) {
  deployment world{shape_of(lanes_of(ucx), {2, 1, 4}, {1, 1, 4})};
  offer(world, 1, 0x11);
  const auto params = world.context().door().get_disaggregated_params(request_id{1}, 2s);
  BOOST_REQUIRE(params.ticket != nullptr);
  for (auto& rank : world.contexts)
    BOOST_TEST(rank->door().cancel_request(request_id{1}));
  offer(world, 1, 0x33);
  check_received(world, wish_by(world, params, 1), 0x33, ticket_use::refused);
  BOOST_TEST(world.leftovers() == "");
}

BOOST_DATA_TEST_CASE(a_ticket_of_an_earlier_life_falls_back_to_asking, make(over_ucx), ucx) {
  deployment world{shape_of(lanes_of(ucx))};
  offer(world, 1, 0x11);
  const auto params = world.context().door().get_disaggregated_params(request_id{1}, 2s);
  BOOST_REQUIRE(params.ticket != nullptr);
  auto layout = world.context().layout();
  const auto endpoint = world.context().door().endpoint();
  const auto port = static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
  world.contexts.clear();
  world.contexts.push_back(std::make_unique<node>(layout, "", transceiver_options{},
                                                  shape_of(lanes_of(ucx)).lanes, -1, port));
  offer(world, 1, 0x33);
  check_received(world, wish_by(world, params, 1), 0x33, ticket_use::refused);
  BOOST_TEST(world.leftovers() == "");
}

BOOST_AUTO_TEST_SUITE_END()
