// Blocks that move between ranks without a request.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <thread>
#include <vector>

#include "examples/support/value_of.hpp"
#include "messages/params.hpp"
#include "messages/ticket.hpp"
#include "tests/support/fleet.hpp"
#include "tests/support/nodes.hpp"

using namespace baton;
using namespace baton::test;
using namespace std::chrono_literals;
using baton::examples::value_of;
using boost::unit_test::data::make;

namespace {

constexpr bool over_ucx[] = {false, true};

plane_options lanes_of(bool ucx) {
  plane_options options;
  options.lanes = ucx ? lane_policy::ucx : lane_policy::mapped;
  return options;
}

struct form {
  instance_role role = instance_role::context;
  std::uint32_t tp = 1;
  std::uint32_t tokens_per_block = 4;
  element_type type = element_type::bf16;
  std::uint32_t head_dim = 8;
  bool dp = false;
};

/// All ranks of an instance; those of one model fit each other.
std::vector<std::unique_ptr<node>> instance_of(const std::string& name, const form& shape,
                                               bool ucx) {
  handoff::model_spec model;
  model.layers = 4;
  model.kv_heads = 2;
  model.head_dim = shape.head_dim;
  model.type = shape.type;
  handoff::side_spec side;
  side.tp = shape.tp;
  side.attention_dp = shape.dp;
  side.tokens_per_block = shape.tokens_per_block;
  side.blocks = 64;
  std::vector<std::unique_ptr<node>> ranks;
  for (auto& layout : value_of(handoff::build_instance(model, side, shape.role, name))) {
    layout.model = "one";
    ranks.push_back(std::make_unique<node>(std::move(layout),
                                           ranks.empty() ? "" : ranks[0]->door().endpoint(),
                                           transceiver_options{}, lanes_of(ucx)));
  }
  return ranks;
}

std::vector<group_blocks> table(std::uint32_t first, std::uint32_t count) {
  group_blocks blocks{"full", 0, {}, {}};
  for (std::uint32_t i = 0; i < count; ++i)
    blocks.blocks.push_back(first + i);
  return {blocks};
}

/// Fills blocks with a byte and offers their 16 tokens.
standing_offer offer(node& rank, std::uint32_t first, std::uint8_t byte,
                     std::chrono::milliseconds timeout = 20s) {
  const auto blocks = table(first, 16 / rank.layout().groups[0].tokens_per_block);
  for (const auto block : blocks[0].blocks)
    rank.fill(block, byte);
  return value_of(rank.door().offer_blocks({{{"full", {0, 16}, {}}}, blocks, timeout}));
}

block_outcome pull(node& rank, const std::string& bytes, std::uint32_t first,
                   std::chrono::milliseconds timeout = 10s) {
  block_pull what;
  what.offer = bytes;
  what.blocks = table(first, 16 / rank.layout().groups[0].tokens_per_block);
  what.timeout = timeout;
  return rank.door().pull_blocks(what);
}

bool holds(node& rank, std::uint32_t first, std::uint8_t byte) {
  const auto blocks = table(first, 16 / rank.layout().groups[0].tokens_per_block)[0].blocks;
  return std::ranges::all_of(blocks, [&](std::uint32_t block) { return rank.holds(block, byte); });
}

std::string ending_of(const block_outcome& result) {
  if (result.failure)
    BOOST_TEST_MESSAGE(to_string(*result.failure));
  return result.failure ? std::string{to_string(result.failure->code)} : "complete";
}

/// Waits until a rank has no lease granted and no pull in flight.
bool at_rest(node& rank) {
  const auto until = std::chrono::steady_clock::now() + 5s;
  do {
    const auto counts = rank.door().stats();
    if (counts.leases_granted + counts.block_offers + counts.block_pulls + counts.waiting_callers ==
        0)
      return true;
    std::this_thread::sleep_for(2ms);
  } while (std::chrono::steady_clock::now() < until);
  return false;
}

} // namespace

BOOST_AUTO_TEST_SUITE(block_exchange)

BOOST_DATA_TEST_CASE(blocks_move_between_ranks_of_one_role_and_to_generation_ranks, make(over_ucx),
                     ucx) {
  for (const auto& [from, to] : {std::pair{instance_role::context, instance_role::context},
                                 std::pair{instance_role::generation, instance_role::generation},
                                 std::pair{instance_role::context, instance_role::generation}}) {
    auto owners = instance_of("a", {from, 1, 4}, ucx);
    auto readers = instance_of("b", {to, 1, 8}, ucx);
    auto& owner = *owners[0];
    auto& reader = *readers[0];
    const auto standing = offer(owner, 8, 0x5a);
    // Anyone may read, and as often as they like.
    for (const auto first : {10u, 20u}) {
      const auto result = pull(reader, standing.bytes, first);
      BOOST_TEST(ending_of(result) == "complete");
      BOOST_TEST(holds(reader, first, 0x5a));
      BOOST_TEST(result.bytes == 4u * owner.layout().pools[0].slot_bytes);
      BOOST_TEST((result.lane.lane == (ucx ? lane_kind::ucx : lane_kind::mapped)));
      BOOST_TEST(result.whole);
    }
    BOOST_TEST(owner.door().stats().block_offers == 1u);
    BOOST_TEST(owner.door().withdraw_offer(standing.id));
    BOOST_TEST(at_rest(owner));
    owner.fill(8, 0x11);
    BOOST_TEST(ending_of(pull(reader, standing.bytes, 10)) == "lease_revoked");
    BOOST_TEST(at_rest(reader));
  }
}

BOOST_DATA_TEST_CASE(a_rank_with_more_heads_pulls_from_several, make(over_ucx), ucx) {
  auto owners = instance_of("a", {instance_role::context, 2, 4}, ucx);
  auto readers = instance_of("b", {instance_role::context, 1, 8}, ucx);
  auto& reader = *readers[0];
  std::uint64_t bytes = 0;
  for (auto& owner : owners) {
    const auto result = pull(reader, offer(*owner, 3, 0x77).bytes, 5);
    BOOST_TEST(ending_of(result) == "complete");
    BOOST_TEST(!result.whole);
    bytes += result.bytes;
  }
  BOOST_TEST(holds(reader, 5, 0x77));
  BOOST_TEST(bytes == 2u * reader.layout().pools[0].slot_bytes);
  // And back: each takes its heads, which are all that it holds.
  const auto standing = offer(reader, 30, 0x66);
  for (auto& owner : owners) {
    const auto result = pull(*owner, standing.bytes, 20);
    BOOST_TEST(ending_of(result) == "complete");
    BOOST_TEST(result.whole);
    BOOST_TEST(holds(*owner, 20, 0x66));
  }
}

BOOST_AUTO_TEST_CASE(a_part_of_what_is_offered_keeps_its_place) {
  auto owners = instance_of("a", {instance_role::context, 1, 4}, false);
  auto readers = instance_of("b", {instance_role::context, 1, 4}, false);
  auto& owner = *owners[0];
  for (const auto block : {1u, 2u})
    owner.fill(block, static_cast<std::uint8_t>(block));
  // Tokens 8 to 14: a prefix that others have the beginning of.
  const auto standing = owner.door().offer_blocks(
      {{{"full", {8, 14}, {}}}, {{"full", 8, {1, 2}, {}}}, std::chrono::seconds{20}});
  BOOST_REQUIRE(standing.has_value());
  block_pull what;
  what.offer = standing->bytes;
  what.blocks = table(0, 4);
  const auto result = readers[0]->door().pull_blocks(what);
  BOOST_TEST(ending_of(result) == "complete");
  BOOST_TEST(readers[0]->holds(2, 1));
  BOOST_TEST(readers[0]->holds(0, 0));
  BOOST_TEST(readers[0]->holds(1, 0));
  BOOST_TEST(!readers[0]->holds(3, 0));
}

BOOST_DATA_TEST_CASE(an_offer_that_is_withdrawn_in_the_middle_never_gives_wrong_bytes,
                     make(over_ucx), ucx) {
  auto owners = instance_of("a", {instance_role::context, 1, 4}, ucx);
  auto readers = instance_of("b", {instance_role::context, 1, 8}, ucx);
  auto& owner = *owners[0];
  auto& reader = *readers[0];
  int complete = 0;
  int revoked = 0;
  for (int round = 0; round < 40; ++round) {
    const auto byte = static_cast<std::uint8_t>(round + 1);
    const auto standing = offer(owner, 0, byte);
    std::atomic<bool> over{false};
    std::atomic<bool> withdrawn{false};
    std::thread rewriter{[&] {
      while (!over && round % 2 == 0) // every other round lets the first pull begin
        std::this_thread::yield();
      withdrawn = owner.door().withdraw_offer(standing.id);
      for (std::uint32_t block = 0; withdrawn && block < 4; ++block)
        owner.fill(block, 0xee);
    }};
    for (int again = 0; again < 3; ++again) {
      const auto result = pull(reader, standing.bytes, 8);
      over = true;
      if (result.failure) {
        ++revoked;
        BOOST_TEST((result.failure->code == errc::lease_revoked));
      } else {
        ++complete;
        BOOST_TEST(holds(reader, 8, byte));
      }
    }
    rewriter.join();
    BOOST_TEST(withdrawn);
  }
  BOOST_TEST_MESSAGE(complete << " complete, " << revoked << " revoked");
  BOOST_TEST(complete > 0);
  BOOST_TEST(revoked > 0);
  BOOST_TEST(at_rest(owner));
  BOOST_TEST(at_rest(reader));
}

BOOST_DATA_TEST_CASE(two_ranks_that_pull_from_each_other_at_once_get_one_link, make(over_ucx),
                     ucx) {
  for (int round = 0; round < 6; ++round) {
    auto one = instance_of("a", {}, ucx);
    auto other = instance_of("b", {}, ucx);
    const auto first = offer(*one[0], 0, 0x11);
    const auto second = offer(*other[0], 0, 0x22);
    auto there = std::async(std::launch::async, [&] { return pull(*other[0], first.bytes, 8); });
    const auto here = pull(*one[0], second.bytes, 8);
    BOOST_TEST(ending_of(here) == "complete");
    BOOST_TEST(ending_of(there.get()) == "complete");
    BOOST_TEST(holds(*one[0], 8, 0x22));
    BOOST_TEST(holds(*other[0], 8, 0x11));
    BOOST_TEST(one[0]->door().stats().links == 1u);
    BOOST_TEST(other[0]->door().stats().links == 1u);
  }
}

BOOST_DATA_TEST_CASE(an_owner_maps_its_readers_only_to_read_from_them, make(over_ucx), ucx) {
  auto one = instance_of("a", {}, ucx);
  auto other = instance_of("b", {}, ucx);
  const auto first = offer(*one[0], 0, 0x11);
  const auto second = offer(*other[0], 0, 0x22);
  const auto before = measure_peers();
  BOOST_TEST(ending_of(pull(*other[0], first.bytes, 8)) == "complete");
  const auto read = measure_peers();
  BOOST_TEST(ending_of(pull(*one[0], second.bytes, 8)) == "complete");
  const auto both = measure_peers();
  if (!ucx) {
    BOOST_TEST(read.mappings > before.mappings);
    BOOST_TEST(both.mappings - read.mappings == read.mappings - before.mappings);
  }
  BOOST_TEST(holds(*one[0], 8, 0x22));
  BOOST_TEST(ending_of(pull(*other[0], first.bytes, 12)) == "complete");
  BOOST_TEST(holds(*other[0], 12, 0x11));
  BOOST_TEST(one[0]->door().stats().links == 1u);
}

BOOST_DATA_TEST_CASE(many_pulls_of_one_offer_all_end_well, make(over_ucx), ucx) {
  auto owners = instance_of("a", {instance_role::context, 1, 4}, ucx);
  auto readers = instance_of("b", {instance_role::context, 1, 16}, ucx);
  const auto standing = offer(*owners[0], 0, 0x44);
  std::vector<std::future<block_outcome>> pulls;
  for (std::uint32_t i = 0; i < 40; ++i)
    pulls.push_back(
        std::async(std::launch::async, [&, i] { return pull(*readers[0], standing.bytes, i); }));
  for (auto& each : pulls)
    BOOST_TEST(ending_of(each.get()) == "complete");
  for (std::uint32_t i = 0; i < 40; ++i)
    BOOST_TEST(holds(*readers[0], i, 0x44));
  BOOST_TEST(at_rest(*readers[0]));
}

BOOST_AUTO_TEST_CASE(some_layers_can_be_offered) {
  auto owners = instance_of("a", {}, false);
  auto readers = instance_of("b", {}, false);
  owners[0]->fill(0, 0x55);
  block_offer what{{{"full", {0, 4}, {}, {1, 3}}}, table(0, 1), 20s};
  const auto standing = value_of(owners[0]->door().offer_blocks(what));
  block_pull wish;
  wish.offer = standing.bytes;
  wish.blocks = table(3, 1);
  const auto result = readers[0]->door().pull_blocks(wish);
  BOOST_TEST(ending_of(result) == "complete");
  BOOST_TEST(!result.whole);
  BOOST_TEST(result.bytes == owners[0]->layout().pools[0].slot_bytes / 2);
}

BOOST_DATA_TEST_CASE(forged_offers_end_with_a_reason, make(over_ucx), ucx) {
  auto owners = instance_of("a", {}, ucx);
  auto readers = instance_of("b", {}, ucx);
  const auto standing = offer(*owners[0], 0, 0x66);
  const auto forged = [&](const std::function<void(request_ticket&)>& change) {
    auto params = value_of(decode_params(standing.bytes));
    auto ticket = *params.ticket;
    change(ticket);
    params.ticket = std::make_shared<const request_ticket>(std::move(ticket));
    const auto result = pull(*readers[0], encode(params), 8);
    return result.failure ? to_string(*result.failure) : "complete";
  };
  const auto has = [](const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
  };
  const auto foreign = forged([](request_ticket& t) { t.tables[0].blocks[1] = 1000; });
  // Over ucx the owner knows its blocks itself.
  BOOST_TEST((ucx || has(foreign, "invalid_argument")), foreign);
  BOOST_TEST((ucx || has(foreign, "1000")), foreign);
  const auto wider = forged([](request_ticket& t) {
    t.tables[0].blocks.push_back(4);
    t.ranks[0].slices[0].ranges[0].tokens.end = 20;
  });
  BOOST_TEST(has(wider, "invalid_argument"), wider);
  const auto later = forged([](request_ticket& t) { t.ranks[0].slices[0].right.epoch += 2; });
  BOOST_TEST(has(later, "lease_revoked"), later);
  const auto reborn = forged([](request_ticket& t) { t.ranks[0].life.value ^= 4; });
  BOOST_TEST(has(reborn, "peer_lost"), reborn);
  BOOST_TEST(ending_of(pull(*readers[0], standing.bytes, 8)) == "complete");
  BOOST_TEST(holds(*readers[0], 8, 0x66));
}

BOOST_AUTO_TEST_CASE(an_offer_times_out) {
  auto owners = instance_of("a", {}, false);
  auto readers = instance_of("b", {}, false);
  const auto standing = offer(*owners[0], 0, 0x33, 30ms);
  BOOST_TEST(at_rest(*owners[0]));
  BOOST_TEST(ending_of(pull(*readers[0], standing.bytes, 0)) == "lease_revoked");
  BOOST_TEST(owners[0]->door().withdraw_offer(standing.id));
}

BOOST_AUTO_TEST_CASE(a_shutdown_withdraws_offers_and_refuses_new_ones) {
  auto owners = instance_of("a", {}, false);
  auto readers = instance_of("b", {}, false);
  const auto standing = offer(*owners[0], 0, 0x33);
  BOOST_TEST(ending_of(pull(*readers[0], standing.bytes, 0)) == "complete");
  owners[0]->door().shutdown();
  BOOST_TEST(owners[0]->plane().granted() == 0u);
  const auto refused = owners[0]->door().offer_blocks({});
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().code == errc::shutting_down));
  const auto late = pull(*readers[0], standing.bytes, 0, 5s);
  BOOST_REQUIRE(late.failure.has_value());
  BOOST_TEST((late.failure->code == errc::peer_lost || late.failure->code == errc::lease_revoked));
}

BOOST_DATA_TEST_CASE(the_blocks_of_a_killed_rank_are_lost, make(over_ucx), ucx) {
  fleet_member owner{instance_role::context, "a", lanes_of(ucx).lanes};
  owner.start(NODE_PEER);
  node reader{fleet_layout(instance_role::context, "b"), "", {}, lanes_of(ucx)};
  const auto from_hex = [](const std::string& hex) {
    std::string bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
      bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    return bytes;
  };
  const auto bytes = from_hex(owner.ask("offer_blocks 8 16 7"));
  BOOST_TEST(ending_of(pull(reader, bytes, 0)) == "complete");
  for (std::uint32_t block = 0; block < 4; ++block)
    BOOST_TEST(reader.holds(block, static_cast<std::uint8_t>(7 + block)));
  owner.kill();
  const auto begin = std::chrono::steady_clock::now();
  const auto result = pull(reader, bytes, 8, 8s);
  // What is mapped outlives its owner, until the loss is known.
  if (!result.failure)
    for (std::uint32_t block = 0; block < 4; ++block)
      BOOST_TEST(reader.holds(8 + block, static_cast<std::uint8_t>(7 + block)));
  else
    BOOST_TEST(ending_of(result) == "peer_lost");
  BOOST_TEST((std::chrono::steady_clock::now() - begin < 12s));
  // Its next life knows nothing of it.
  owner.start(NODE_PEER);
  const auto until = std::chrono::steady_clock::now() + 10s;
  while (reader.door().stats().links != 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(5ms);
  BOOST_TEST(ending_of(pull(reader, bytes, 0, 8s)) == "peer_lost");
  BOOST_TEST(at_rest(reader));
}

BOOST_AUTO_TEST_CASE(dp_groups_of_one_instance_exchange_blocks) {
  form shape;
  shape.tp = 2;
  shape.dp = true;
  auto ranks = instance_of("a", shape, false);
  const auto standing = offer(*ranks[1], 4, 0x21);
  const auto result = pull(*ranks[0], standing.bytes, 9);
  BOOST_TEST(ending_of(result) == "complete");
  BOOST_TEST(result.whole);
  BOOST_TEST(holds(*ranks[0], 9, 0x21));
}

BOOST_AUTO_TEST_CASE(a_request_is_not_sent_to_an_instance_of_the_same_role) {
  auto decoders = instance_of("d", {instance_role::generation}, false);
  auto others = instance_of("e", {instance_role::generation}, false);
  const auto result = decoders[0]->door().request_and_receive_sync(
      wish_for(1, others[0]->door().endpoint(), 0, 16));
  BOOST_REQUIRE(result.failure.has_value());
  BOOST_TEST((result.failure->code == errc::invalid_argument));
  BOOST_TEST(result.failure->text.find("both") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_is_refused_with_the_reason) {
  auto owners = instance_of("a", {}, false);
  auto readers = instance_of("b", {}, false);
  auto decoders = instance_of("g", {instance_role::generation}, false);
  auto wide = instance_of("w", {instance_role::context, 1, 4, element_type::bf16, 16}, false);
  auto& owner = *owners[0];
  auto& reader = *readers[0];
  const auto standing = offer(owner, 0, 0x33);
  const auto refused = [](const block_outcome& result, std::string_view text) {
    ending_of(result);
    return result.failure && result.failure->code == errc::invalid_argument &&
           result.failure->text.find(text) != std::string::npos;
  };
  BOOST_TEST(refused(pull(reader, "garbage", 0), "params"));
  auto damaged = standing.bytes;
  damaged[damaged.size() - 3] ^= 1;
  BOOST_TEST(refused(pull(reader, damaged, 0), "damaged"));
  BOOST_TEST(refused(pull(owner, standing.bytes, 0), "own"));
  BOOST_TEST(refused(pull(reader, standing.bytes, 61), "block id 64"));
  block_pull other{standing.bytes, {{"other", 0, {1}, {}}}, 1s, {}};
  BOOST_TEST(refused(reader.door().pull_blocks(other), "group 'other'"));
  block_pull small{standing.bytes, table(0, 2), 1s, {}};
  BOOST_TEST(refused(reader.door().pull_blocks(small), "full"));
  // A context rank does not pull from a generation rank.
  const auto decoded = offer(*decoders[0], 0, 0x44);
  BOOST_TEST(refused(pull(reader, decoded.bytes, 0), "not read by context ranks"));
  // Another model.
  BOOST_TEST(ending_of(pull(*wide[0], standing.bytes, 0)) == "incompatible_layout");

  const auto bad = [&](block_offer what, std::string_view text) {
    const auto result = owner.door().offer_blocks(std::move(what));
    return !result && result.error().code == errc::invalid_argument &&
           result.error().text.find(text) != std::string::npos;
  };
  BOOST_TEST(bad({}, "no blocks"));
  BOOST_TEST(bad({{}, table(0, 4), 1s}, "0 ranges"));
  BOOST_TEST(bad({{{"full", {0, 17}, {}}}, table(0, 4), 1s}, "[0, 17)"));
  BOOST_TEST(bad({{{"full", {4, 4}, {}}}, table(0, 4), 1s}, "[4, 4)"));
  BOOST_TEST(bad({{{"full", {0, 16}, {}}}, table(61, 4), 1s}, "block id 64"));
  BOOST_TEST(bad({{{"full", {0, 16}, {}}}, table(0, 4), 0s}, "timeout"));
}

BOOST_AUTO_TEST_SUITE_END()
