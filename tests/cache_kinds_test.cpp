#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <caf/actor_system.hpp>

#include "actors/request_checks.hpp"
#include "baton.hpp"
#include "examples/support/value_of.hpp"
#include "tests/support/layouts.hpp"
#include "transport/plan/block_tables.hpp"

/// Caches of all kinds, handed over by real ranks over real lanes in one process. The plans are
/// held against an oracle elsewhere (plan_test); here they say what must arrive.
namespace baton {

namespace {

using namespace std::chrono_literals;
using examples::value_of;
using tests::chance;
using tests::pick;

constexpr std::byte poison{0xA5};

/// One real rank, in an actor system of its own unless it is given one.
struct rank {
  rank(rank_layout given, std::string directory, lane_policy lane, caf::actor_system* shared)
      : own{shared ? nullptr : std::make_unique<caf::actor_system>(config)},
        layout{std::move(given)} {
    layout.life = random_id<incarnation>();
    std::vector<host_pool> pools;
    for (const auto& pool : layout.pools) {
      pools.push_back(value_of(host_pool::create(pool.bytes())));
      std::memset(pools.back().data(), std::to_integer<int>(poison), pool.bytes());
    }
    plane_options options;
    options.lanes = lane;
    plane = value_of(rank_plane::create(layout.life, layout, std::move(pools), options));
    rank_endpoint endpoint;
    endpoint.directory = std::move(directory);
    door = std::make_unique<transceiver>(
        value_of(transceiver::start(shared ? *shared : *own, layout, plane, std::move(endpoint))));
  }

  actor_config config;
  std::unique_ptr<caf::actor_system> own;
  rank_layout layout;
  std::shared_ptr<rank_plane> plane;
  std::unique_ptr<transceiver> door;
};

using ranks = std::vector<std::unique_ptr<rank>>;

ranks start(const std::vector<rank_layout>& layouts, lane_policy lane,
            caf::actor_system* shared = nullptr) {
  ranks all;
  for (const auto& layout : layouts)
    all.push_back(std::make_unique<rank>(layout, all.empty() ? "" : all.front()->door->endpoint(),
                                         lane, shared));
  return all;
}

void fill(std::mt19937_64& random, const rank& at) {
  for (std::size_t i = 0; i < at.layout.pools.size(); ++i)
    for (std::uint64_t byte = 0; byte < at.layout.pools[i].bytes(); ++byte)
      at.plane->pool(i).data()[byte] = static_cast<std::byte>(random());
}

using memory = std::vector<std::vector<std::byte>>;

memory memory_of(const rank& at) {
  memory pools;
  for (std::size_t i = 0; i < at.layout.pools.size(); ++i) {
    const auto* first = at.plane->pool(i).data();
    pools.emplace_back(first, first + at.layout.pools[i].bytes());
  }
  return pools;
}

/// What a slice has of a request.
struct piece {
  token_range tokens;
  layer_range layers;
};

/// Cuts a request by tokens, and often by layers too. Each layer's tokens come in order.
std::vector<piece> draw_pieces(std::mt19937_64& random, std::uint32_t tokens,
                               std::uint32_t layers) {
  std::vector<token_range> chunks;
  for (std::uint32_t end = 0; end < tokens;) {
    const auto begin = end;
    end = chance(random, 50) ? tokens : pick(random, end + 1, tokens);
    chunks.push_back({begin, end});
  }
  std::vector<layer_range> bands{{}};
  while (bands.back().begin + 1 < layers && chance(random, 60)) {
    const auto cut = pick(random, bands.back().begin + 1, layers - 1);
    bands.back().end = cut;
    bands.push_back({cut, layer_range::no_end});
  }
  std::vector<piece> pieces;
  std::vector<std::size_t> done(bands.size());
  while (pieces.size() < chunks.size() * bands.size()) {
    const auto last = static_cast<std::uint32_t>(bands.size() - 1);
    const auto band = pieces.empty() ? 0 : pick(random, 0, last);
    if (done[band] < chunks.size())
      pieces.push_back({chunks[done[band]++], bands[band]});
  }
  return pieces;
}

std::uint32_t layers_of_all(const std::vector<rank_layout>& ranks) {
  std::uint32_t layers = 0;
  for (const auto& rank : ranks)
    layers = std::max(layers, layers_of(rank)->back() + 1);
  return layers;
}

/// One request: how it is cut, and its tables on every rank that has a part in it.
struct request {
  request_id id;
  std::uint32_t tokens = 0;
  std::uint32_t cached = 0;
  std::vector<piece> pieces; ///< in the order in which they are offered
  std::vector<std::vector<group_blocks>> context;
  std::vector<std::vector<group_blocks>> generation;
};

/// Draws tables of all groups; `tails` of each beam but the first begin at or after that token.
std::vector<group_blocks> draw_tables(std::mt19937_64& random, const rank_layout& layout,
                                      std::uint32_t tokens,
                                      const std::vector<std::uint32_t>& tails) {
  std::vector<group_blocks> tables;
  for (const auto& group : layout.groups) {
    const auto size = group.is_state() ? 1 : group.tokens_per_block;
    const auto blocks = group.is_state() ? 1 : (tokens + size - 1) / size;
    std::vector<std::uint32_t> ids(slots_of(layout, group));
    std::iota(ids.begin(), ids.end(), 0u);
    std::ranges::shuffle(ids, random);
    const auto take = [&](std::uint32_t count) {
      const std::vector<std::uint32_t> taken{ids.end() - count, ids.end()};
      ids.resize(ids.size() - count);
      return taken;
    };
    group_blocks table{group.name, 0, take(blocks)};
    for (const auto tail : tails) {
      const auto first = group.is_state() ? tail % 2 : std::min(tail / size, blocks);
      table.tails.push_back({first * size, take(blocks - first)});
    }
    tables.push_back(std::move(table));
  }
  return tables;
}

class hand_over {
public:
  hand_over(tests::instances given, lane_policy lane, std::mt19937_64& random)
      : given_{std::move(given)},
        random_{random},
        context_{start(given_.context, lane)},
        generation_{start(given_.generation, lane)} {
    for (const auto& source : context_)
      fill(random, *source);
  }

  request draw(std::uint64_t id) {
    request drawn{request_id{id}, pick(random_, 1, 40), 0, {}, {}, {}};
    if (chance(random_, 30))
      drawn.cached = pick(random_, 0, drawn.tokens);
    drawn.pieces = draw_pieces(random_, drawn.tokens, layers_of_all(given_.context));
    const auto beams = chance(random_, 40) ? pick(random_, 1, 2) : 0;
    const auto tables = [&](const std::vector<rank_layout>& side) {
      std::vector<std::uint32_t> tails;
      for (std::uint32_t beam = 0; beam < beams; ++beam)
        tails.push_back(pick(random_, 0, drawn.tokens));
      std::vector<std::vector<group_blocks>> all;
      for (const auto& layout : side)
        all.push_back(draw_tables(random_, layout, drawn.tokens, tails));
      return all;
    };
    drawn.context = tables(given_.context);
    drawn.generation = tables(given_.generation);
    return drawn;
  }

  /// Hands a request over between two dp groups. @returns what is wrong, or "".
  std::string check(const request& what, std::uint32_t context_dp, std::uint32_t generation_dp) {
    const auto wanted = expected_memory(what, context_dp, generation_dp);
    receive(what, context_dp, generation_dp);
    offer(what, context_dp);
    std::string wrong;
    for (const auto& to : generation_) {
      if (to->layout.dp_rank() == generation_dp)
        for (const auto& ended : to->door->check_gen_transfer_status(1))
          if (!ended.completed())
            wrong += to_string(ended.failure.value_or(error{})) + "\n";
      if (memory_of(*to) != wanted[to->layout.rank])
        wrong += fmt::format("generation rank {} holds other bytes\n", to->layout.rank);
    }
    for (const auto& from : context_)
      if (from->layout.dp_rank() == context_dp)
        for (const auto& ended : from->door->check_context_transfer_status(1))
          if (!ended.completed())
            wrong += to_string(ended.failure.value_or(error{})) + "\n";
    return wrong;
  }

  [[nodiscard]] const tests::instances& given() const noexcept { return given_; }

private:
  receive_request wish_of(const request& what, const rank& to, std::uint32_t context_dp) const {
    receive_request wish;
    wish.request = what.id;
    wish.context = context_.front()->door->get_disaggregated_params();
    wish.context.dp_rank = context_dp;
    wish.tokens = what.tokens;
    wish.cached_tokens = what.cached;
    wish.blocks = what.generation[to.layout.rank];
    return wish;
  }

  void receive(const request& what, std::uint32_t context_dp, std::uint32_t generation_dp) {
    for (const auto& to : generation_)
      if (to->layout.dp_rank() == generation_dp)
        value_of(to->door->request_and_receive_async(wish_of(what, *to, context_dp)));
  }

  void offer(const request& what, std::uint32_t dp) {
    for (const auto& from : context_) {
      for (std::size_t i = 0; i < what.pieces.size(); ++i) {
        send_slice slice;
        slice.request = what.id;
        slice.tokens = what.pieces[i].tokens;
        slice.layers = what.pieces[i].layers;
        slice.last = i + 1 == what.pieces.size();
        slice.blocks = what.context[from->layout.rank];
        if (from->layout.dp_rank() == dp)
          value_of(from->door->respond_and_send_async(std::move(slice)));
      }
    }
  }

  std::vector<memory> expected_memory(const request& what, std::uint32_t context_dp,
                                      std::uint32_t generation_dp) const {
    const auto table =
        value_of(make_pairs(given_.context, context_dp, given_.generation, generation_dp));
    std::vector<memory> all;
    for (const auto& to : generation_) {
      all.push_back(memory_of(*to));
      if (to->layout.dp_rank() == generation_dp)
        for (const auto source : table.sources_of(to->layout.rank))
          copy(what, *table.find(source, to->layout.rank), wish_of(what, *to, context_dp),
               all.back());
    }
    return all;
  }

  void copy(const request& what, const rank_pair& pair, const receive_request& wish,
            memory& out) const {
    const planner plans{given_.context[pair.source], given_.generation[pair.destination], pair};
    std::vector<plan_blocks> blocks;
    const auto wants = wants_of(given_.generation[pair.destination], wish);
    for (const auto& want : wants)
      if (const auto* from = find_table(what.context[pair.source], want.group))
        blocks.push_back({want.group, want.tokens, from, find_table(wish.blocks, want.group)});
    const auto made = value_of(plans.make(blocks));
    const auto& source = *context_[pair.source]->plane;
    for (const auto& part : made.parts)
      for (const auto& slots : part.pairs)
        for (const auto& run : part.shape->runs) {
          const auto& lane = part.shape->lanes[run.lane];
          std::memcpy(out[lane.destination_pool].data() + run.destination +
                          slots.destination * lane.destination_stride,
                      source.pool(lane.source_pool).data() + run.source +
                          slots.source * lane.source_stride,
                      run.bytes);
        }
  }

  tests::instances given_;
  std::mt19937_64& random_;
  ranks context_;
  ranks generation_;
};

bool holds(const std::vector<rank_layout>& side, cache_role role, std::uint32_t section) {
  for (const auto& rank : side)
    for (const auto& group : rank.groups)
      for (const auto& buffer : group.buffers)
        if (buffer.role == role && buffer.section == section)
          return true;
  return false;
}

/// Instances of few ranks that hold this among other things, sharded differently.
tests::instances small_instances(std::mt19937_64& random, cache_role role, std::uint32_t section) {
  for (;;) {
    auto given = tests::random_instances(random);
    if (given.context.size() <= 4 && given.generation.size() <= 4 &&
        given.context[0].tp_size != given.generation[0].tp_size &&
        holds(given.context, role, section))
      return given;
  }
}

void check_random_caches(lane_policy lane, std::uint64_t salt) {
  std::mt19937_64 random{tests::seed() + salt};
  const std::vector<std::pair<cache_role, std::uint32_t>> kinds{
      {cache_role::key_scale, 0}, {cache_role::value_scale, 0}, {cache_role::indexer_key, 0},
      {cache_role::latent, 0},    {cache_role::conv, 0},        {cache_role::conv, 1},
      {cache_role::conv, 2},      {cache_role::ssm, 0}};
  for (const auto& [role, section] : kinds) {
    hand_over world{small_instances(random, role, section), lane, random};
    BOOST_TEST_CONTEXT(to_string(role) << " " << section << ": " << world.given().text)
    for (std::uint64_t id = 1; id <= 8; ++id) {
      const auto dp = [&](const auto& side) { return pick(random, 0, side[0].dp_size() - 1); };
      const auto context_dp = dp(world.given().context);
      const auto generation_dp = dp(world.given().generation);
      BOOST_TEST_REQUIRE(world.check(world.draw(id), context_dp, generation_dp) == "");
    }
  }
}

/// One context and one generation rank of a model of blocks and of state, in a given actor system.
struct one_pair {
  explicit one_pair(caf::actor_system& system, std::uint32_t head_dim = 4)
      : context{start_one(system, head_dim, instance_role::context)},
        generation{start_one(system, head_dim, instance_role::generation)} {}

  static std::unique_ptr<rank> start_one(caf::actor_system& system, std::uint32_t head_dim,
                                         instance_role role) {
    return std::move(start(layouts(head_dim, role), lane_policy::automatic, &system).front());
  }

  static std::vector<rank_layout> layouts(std::uint32_t head_dim, instance_role role) {
    handoff::model_spec model;
    model.layers = 2;
    model.kv_heads = 2;
    model.head_dim = head_dim;
    model.state = handoff::state_spec{{1}, 64, 4, 16};
    handoff::side_spec side;
    side.tokens_per_block = 4;
    side.blocks = 64;
    return tests::build(model, side, role);
  }

  static send_slice slice(std::uint64_t id) {
    send_slice out;
    out.request = request_id{id};
    out.tokens = {0, 8};
    out.blocks = {{"full", 0, {0, 1}}, {"state", 0, {0}}};
    return out;
  }

  [[nodiscard]] receive_request wish(std::uint64_t id) const {
    receive_request out;
    out.request = request_id{id};
    out.context = context->door->get_disaggregated_params();
    out.tokens = 8;
    out.blocks = {{"full", 0, {8, 9}}, {"state", 0, {5}}};
    return out;
  }

  void check_outcome(const receive_request& wish, const send_slice& slice,
                     const std::string& text) const {
    value_of(context->door->respond_and_send_async(slice));
    const auto received = generation->door->request_and_receive_sync(wish);
    const auto sent = context->door->check_context_transfer_status(1);
    BOOST_TEST_REQUIRE(sent.size() == 1u);
    BOOST_TEST(received.completed() == text.empty());
    BOOST_TEST(sent[0].completed() == text.empty());
    const auto text_of = [](const outcome& end) { return end.failure ? end.failure->text : ""; };
    BOOST_TEST(text_of(sent[0]) == text);
    BOOST_TEST(text_of(received) == (text.empty() ? "" : "context rank 0: " + text));
  }

  std::unique_ptr<rank> context;
  std::unique_ptr<rank> generation;
};

struct one_system {
  actor_config config;
  caf::actor_system system{config};
};

} // namespace

BOOST_AUTO_TEST_SUITE(cache_kinds)

BOOST_AUTO_TEST_CASE(caches_of_all_kinds_arrive_by_the_mapped_lane) {
  check_random_caches(lane_policy::mapped, 1);
}

BOOST_AUTO_TEST_CASE(caches_of_all_kinds_arrive_by_the_ucx_lane) {
  check_random_caches(lane_policy::ucx, 2);
}

BOOST_FIXTURE_TEST_CASE(unlike_numbers_of_beams_end_both_sides_with_the_reason, one_system) {
  one_pair sides{system};
  auto slice = sides.slice(1);
  auto wish = sides.wish(1);
  for (auto& table : slice.blocks)
    table.tails.resize(1, {0, {2}});
  for (auto& table : wish.blocks)
    table.tails.resize(2, {0, {10}});
  slice.blocks[0].tails[0] = {4, {2}};
  wish.blocks[0].tails = {{4, {10}}, {4, {11}}};
  sides.check_outcome(wish, slice,
                      "request 1: 2 beams of group 'full' are offered, but generation rank 0 has "
                      "blocks for 3; give both sides the same number of beams");
}

BOOST_FIXTURE_TEST_CASE(leading_blocks_may_be_gone_if_nobody_wants_them, one_system) {
  one_pair sides{system};
  auto slice = sides.slice(1);
  slice.blocks[0] = {"full", 4, {1}};
  auto wish = sides.wish(1);
  wish.cached_tokens = 4;
  sides.check_outcome(wish, slice, "");
  slice.request = wish.request = request_id{2};
  wish.cached_tokens = 0;
  sides.check_outcome(
      wish, slice,
      "request 2: generation rank 0 wants tokens of group 'full' from 0 on, but the "
      "context rank's blocks begin at token 4; leave out only blocks that the window "
      "has passed or that every receiver has cached");
}

BOOST_FIXTURE_TEST_CASE(state_has_one_slot_a_request, one_system) {
  one_pair sides{system};
  const auto refusal = [&](const group_blocks& table) {
    auto slice = sides.slice(1);
    slice.blocks[1] = table;
    const auto offered = sides.context->door->respond_and_send_async(slice);
    return offered ? "" : offered.error().text;
  };
  const std::string text = "request 1: group 'state' holds state, one slot a request; give it 1 "
                           "block from token 0, not ";
  BOOST_TEST(refusal({"state", 0, {1, 2}}) == text + "2 from token 0");
  BOOST_TEST(refusal({"state", 0, {}}) == text + "0 from token 0");
  BOOST_TEST(refusal({"state", 1, {3}}) == text + "1 from token 1");
  BOOST_TEST(refusal({"state", 0, {64}}).find("block id 64") != std::string::npos);
  BOOST_TEST(refusal({"state", 0, {3}, {{0, {4}}}}).find("2 beams") != std::string::npos);
  auto slice = sides.slice(1);
  slice.blocks.pop_back();
  const auto offered = sides.context->door->respond_and_send_async(slice);
  BOOST_TEST_REQUIRE(!offered);
  BOOST_TEST(offered.error().text == "request 1: blocks of group 'state' are missing");
}

BOOST_FIXTURE_TEST_CASE(two_models_share_a_process_and_do_not_mix, one_system) {
  one_pair small{system, 4};
  one_pair large{system, 8};
  std::mt19937_64 random{7};
  for (const auto* pair : {&small, &large})
    fill(random, *pair->context);
  const auto run = [](const one_pair& pair) {
    std::string wrong;
    for (std::uint64_t id = 1; id <= 50; ++id) {
      value_of(pair.context->door->respond_and_send_async(pair.slice(id)));
      if (const auto ended = pair.generation->door->request_and_receive_sync(pair.wish(id));
          !ended.completed())
        wrong += to_string(ended.failure.value_or(error{}));
    }
    return wrong;
  };
  auto other = std::async(std::launch::async, [&] { return run(small); });
  BOOST_TEST(run(large) == "");
  BOOST_TEST(other.get() == "");
  for (const auto* pair : {&small, &large}) {
    const auto slot = pair->context->layout.pools[0].slot_bytes;
    BOOST_TEST(std::memcmp(pair->generation->plane->pool(0).data() + 8 * slot,
                           pair->context->plane->pool(0).data(), 2 * slot) == 0);
    const auto state = pair->context->layout.pools[1].slot_bytes;
    BOOST_TEST(std::memcmp(pair->generation->plane->pool(1).data() + 5 * state,
                           pair->context->plane->pool(1).data(), state) == 0);
  }
  auto wish = small.wish(99);
  wish.context = large.context->door->get_disaggregated_params();
  const auto mixed = small.generation->door->request_and_receive_sync(wish);
  BOOST_TEST_REQUIRE(mixed.failure.has_value());
  BOOST_TEST((mixed.failure->code == errc::incompatible_layout));
  BOOST_TEST_INFO(mixed.failure->text);
  for (const auto* word : {"model", "head_dim=4", "head_dim=8"})
    BOOST_TEST((mixed.failure->text.find(word) != std::string::npos));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
