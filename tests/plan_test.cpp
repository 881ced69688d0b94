#include "transport/plan/plan.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "tests/support/layouts.hpp"

namespace baton {

namespace {

using handoff::inner_order;
using handoff::model_spec;
using handoff::pool_order;
using handoff::side_spec;
using tests::build;
using tests::chance;
using tests::pick;

// -- the naive oracle
// ---------------------------------------------------------------------------------

using bytes = std::vector<std::uint8_t>;

constexpr std::uint8_t poison = 0xA5;

/// The pools of one rank.
struct memory {
  explicit memory(const rank_layout& layout, std::uint8_t value = poison) {
    for (const auto& pool : layout.pools)
      pools.emplace_back(pool.bytes(), value);
  }
  friend bool operator==(const memory&, const memory&) = default;

  std::vector<bytes> pools;
};

/// The tokens of one group that a test hands over, and their blocks on both sides.
struct handed_group {
  token_range tokens;
  std::map<std::uint32_t, group_blocks>
      blocks; ///< by rank; context ranks count on from `first_context`
  /// Where the tails of the beams after the first begin.
  std::vector<std::uint32_t> context_tails{};
  std::vector<std::uint32_t> generation_tails{};

  /// The beam whose bytes the context side has for a token of a beam.
  [[nodiscard]] std::uint32_t origin(std::uint32_t beam, std::uint32_t token) const {
    return beam > 0 && token >= context_tails[beam - 1] ? beam : 0;
  }
};
constexpr std::uint32_t first_context = 1u << 16;

using request = std::map<std::string, handed_group>;

/// One byte of one element: any function of all coordinates that is hard to hit by chance.
std::uint8_t pattern(const buffer_layout& buffer, std::uint32_t beam, std::uint32_t head,
                     std::uint32_t token, std::uint64_t byte) {
  std::uint64_t hash = 0;
  for (std::uint64_t value : {std::uint64_t{buffer.layer}, static_cast<std::uint64_t>(buffer.role),
                              std::uint64_t{buffer.section}, std::uint64_t{beam},
                              std::uint64_t{head}, std::uint64_t{token}, byte})
    hash = (hash ^ value) * 0x9E3779B97F4A7C15 + (hash >> 31);
  return static_cast<std::uint8_t>(hash >> 56);
}

/// Calls `visit(slot, beam, token)` for the tokens that a table, or a tail, holds.
template <class Visitor>
void for_each_token(const std::vector<std::uint32_t>& blocks, std::uint32_t first,
                    std::uint32_t per_block, std::uint32_t beam, token_range tokens,
                    const Visitor& visit) {
  for (auto token = std::max(tokens.begin, first); token < tokens.end; ++token)
    visit(std::uint64_t{blocks.at((token - first) / per_block)}, beam, token);
}

template <class Visitor>
void for_each_token(const group_blocks& table, std::uint32_t per_block, token_range tokens,
                    const Visitor& visit) {
  for_each_token(table.blocks, table.first_block_token, per_block, 0, tokens, visit);
  std::uint32_t beam = 0;
  for (const auto& tail : table.tails)
    for_each_token(tail.blocks, tail.first_block_token, per_block, ++beam, tokens, visit);
}

/// Calls `visit(pool, address, value)` for every byte of the request's tokens that a rank holds.
template <class Visitor>
void for_each_byte(const rank_layout& rank, std::uint32_t table_key, const request& handed,
                   const Visitor& visit, layer_range layers = {}) {
  for (const auto& group : rank.groups) {
    const auto& given = handed.at(group.name);
    const auto per_block = std::max(group.tokens_per_block, 1u);
    for (const auto& buffer : group.buffers)
      if (layers.contains(buffer.layer))
        for_each_token(given.blocks.at(table_key), per_block, given.tokens,
                       [&](std::uint64_t slot, std::uint32_t beam, std::uint32_t token) {
                         for (std::uint32_t head = 0; head < buffer.head_count; ++head)
                           for (std::uint64_t byte = 0; byte < buffer.row_bytes(); ++byte)
                             visit(buffer.pool,
                                   buffer.offset + slot * buffer.slot_stride +
                                       head * buffer.head_stride +
                                       token % per_block * buffer.token_stride + byte,
                                   pattern(buffer, given.origin(beam, token),
                                           buffer.first_head + head, token, byte));
                       });
  }
}

memory filled(const rank_layout& rank, std::uint32_t table_key, const request& handed,
              std::uint8_t background) {
  memory result{rank, background};
  for_each_byte(rank, table_key, handed,
                [&](std::uint32_t pool, std::uint64_t at, std::uint8_t value) {
                  result.pools[pool][at] = value;
                });
  return result;
}

/// How often each byte of a receiver must be written: once for each byte of the request.
void add_wanted_writes(memory& counts, const rank_layout& rank, const request& handed,
                       layer_range layers) {
  for_each_byte(
      rank, rank.rank, handed,
      [&](std::uint32_t pool, std::uint64_t at, std::uint8_t) { ++counts.pools[pool][at]; },
      layers);
}

// -- carrying plans out
// -------------------------------------------------------------------------------

/// Calls `visit(lane, run, pair)` in stream order.
template <class Visitor>
void for_each_run(const plan& given, const Visitor& visit) {
  for (const auto& part : given.parts)
    for (const auto& pair : part.pairs)
      for (const auto& item : part.shape->runs)
        visit(part.shape->lanes.at(item.lane), item, pair);
}

std::uint8_t* source_of(memory& from, const run_lane& lane, const run& item, slot_pair pair) {
  auto& pool = from.pools.at(lane.source_pool);
  const auto at = item.source + pair.source * lane.source_stride;
  BOOST_TEST_REQUIRE(at + item.bytes <= pool.size());
  return pool.data() + at;
}

std::uint8_t* destination_of(memory& to, const run_lane& lane, const run& item, slot_pair pair) {
  auto& pool = to.pools.at(lane.destination_pool);
  const auto at = item.destination + pair.destination * lane.destination_stride;
  BOOST_TEST_REQUIRE(at + item.bytes <= pool.size());
  return pool.data() + at;
}

void copy_all(const plan& given, memory& from, memory& to, memory& writes) {
  for_each_run(given, [&](const run_lane& lane, const run& item, slot_pair pair) {
    std::memcpy(destination_of(to, lane, item, pair), source_of(from, lane, item, pair),
                item.bytes);
    auto* count = destination_of(writes, lane, item, pair);
    for (std::uint64_t i = 0; i < item.bytes; ++i)
      ++count[i];
  });
}

bytes gather(const plan& given, memory& from) {
  bytes stream;
  for_each_run(given, [&](const run_lane& lane, const run& item, slot_pair pair) {
    const auto* at = source_of(from, lane, item, pair);
    stream.insert(stream.end(), at, at + item.bytes);
  });
  return stream;
}

void scatter(const plan& given, const bytes& stream, memory& to) {
  std::size_t done = 0;
  for_each_run(given, [&](const run_lane& lane, const run& item, slot_pair pair) {
    BOOST_TEST_REQUIRE(done + item.bytes <= stream.size());
    std::memcpy(destination_of(to, lane, item, pair), stream.data() + done, item.bytes);
    done += item.bytes;
  });
  BOOST_TEST_REQUIRE(done == stream.size());
}

/// Prefix sums and totals are right, runs are in the destination's order, and no two neighbours
/// could be one.
void check_template(const run_template& shape) {
  BOOST_TEST_REQUIRE(shape.prefix.size() == shape.runs.size() + 1);
  BOOST_TEST_REQUIRE(shape.prefix.front() == 0u);
  BOOST_TEST_REQUIRE(shape.prefix.back() == shape.bytes);
  for (std::size_t i = 0; i < shape.runs.size(); ++i) {
    const auto& item = shape.runs[i];
    BOOST_TEST_REQUIRE(item.bytes > 0u);
    BOOST_TEST_REQUIRE(shape.prefix[i + 1] == shape.prefix[i] + item.bytes);
    if (i == 0 || shape.runs[i - 1].lane != item.lane)
      continue;
    const auto& last = shape.runs[i - 1];
    BOOST_TEST_REQUIRE(last.destination + last.bytes <= item.destination);
    BOOST_TEST_REQUIRE((last.destination + last.bytes != item.destination ||
                        last.source + last.bytes != item.source));
  }
}

void check_totals(const plan& given) {
  std::uint64_t moved = 0;
  std::uint64_t fragments = 0;
  for_each_run(given, [&](const run_lane&, const run& item, slot_pair) {
    moved += item.bytes;
    ++fragments;
  });
  BOOST_TEST_REQUIRE(given.bytes == moved);
  BOOST_TEST_REQUIRE(given.fragments == fragments);
  for (const auto& part : given.parts) {
    BOOST_TEST_REQUIRE(!part.pairs.empty());
    BOOST_TEST_REQUIRE(part.shape->bytes > 0u);
    check_template(*part.shape);
  }
}

// -- random requests
// ----------------------------------------------------------------------------------

group_blocks random_blocks(std::mt19937_64& random, const rank_layout& rank,
                           const group_layout& group, token_range tokens,
                           const std::vector<std::uint32_t>& tails) {
  const auto per_block = std::max(group.tokens_per_block, 1u);
  std::vector<std::uint32_t> ids(rank.pools[group.buffers.front().pool].slots);
  std::iota(ids.begin(), ids.end(), 0u);
  std::ranges::shuffle(ids, random);
  const auto take = [&](std::uint32_t first) {
    const auto end = std::max((tokens.end + per_block - 1) / per_block, first / per_block);
    const auto count = static_cast<std::ptrdiff_t>(end - first / per_block);
    const std::vector<std::uint32_t> taken{ids.end() - count, ids.end()};
    ids.resize(ids.size() - taken.size());
    return taken;
  };
  const auto first = pick(random, 0, tokens.begin / per_block) * per_block;
  group_blocks table{group.name, first, take(first)};
  for (const auto tail : tails)
    table.tails.push_back({tail, take(tail)});
  return table;
}

/// Draws where the tails of `count` beams begin on one side.
std::vector<std::uint32_t> random_tails(std::mt19937_64& random, const group_layout& group,
                                        std::uint32_t count, token_range tokens) {
  const auto per_block = std::max(group.tokens_per_block, 1u);
  std::vector<std::uint32_t> tails;
  for (; count > 0; --count)
    tails.push_back(pick(random, 0, (tokens.end + per_block - 1) / per_block) * per_block);
  return tails;
}

/// Draws a token range for each group, and block tables for each rank.
request random_request(std::mt19937_64& random, const tests::instances& given) {
  request result;
  const auto tails = chance(random, 30) ? pick(random, 1, 2) : 0;
  const auto add = [&](const rank_layout& rank, std::uint32_t key) {
    for (const auto& group : rank.groups) {
      auto& handed = result[group.name];
      if (handed.blocks.empty()) {
        const auto end = group.tokens_per_block == 0 ? 1 : pick(random, 1, 40);
        handed.tokens = {group.tokens_per_block == 0 ? 0 : pick(random, 0, end - 1), end};
      }
      auto& begin = key < first_context ? handed.generation_tails : handed.context_tails;
      if (begin.empty())
        begin = random_tails(random, group, tails, handed.tokens);
      handed.blocks[key] = random_blocks(random, rank, group, handed.tokens, begin);
    }
  };
  for (const auto& rank : given.context)
    add(rank, first_context + rank.rank);
  for (const auto& rank : given.generation)
    add(rank, rank.rank);
  return result;
}

/// The request's groups as plans want them; `part` of `parts` equal slices, of some layers.
std::vector<plan_blocks> slice_of(const request& handed, const rank_pair& pair, std::uint32_t part,
                                  std::uint32_t parts, layer_range layers) {
  std::vector<plan_blocks> result;
  for (const auto& [name, group] : handed) {
    const auto cut = [&](std::uint32_t index) {
      return group.tokens.begin + group.tokens.size() * index / parts;
    };
    const auto find = [&](std::uint32_t key) {
      const auto found = group.blocks.find(key);
      return found == group.blocks.end() ? nullptr : &found->second;
    };
    result.push_back({name,
                      {cut(part), cut(part + 1)},
                      find(first_context + pair.source),
                      find(pair.destination),
                      group.context_tails,
                      group.generation_tails,
                      layers});
  }
  return result;
}

plan make(const planner& maker, const std::vector<plan_blocks>& blocks) {
  auto result = maker.make(blocks);
  BOOST_REQUIRE_MESSAGE(result.has_value(), (result ? "" : result.error().text));
  return std::move(*result);
}

std::uint64_t bytes_of(const memory& writes) {
  std::uint64_t count = 0;
  for (const auto& pool : writes.pools)
    count += static_cast<std::uint64_t>(pool.size() -
                                        static_cast<std::size_t>(std::ranges::count(pool, 0)));
  return count;
}

/// Hands one slice over, directly and by way of a stream. @returns how many bytes were moved.
std::uint64_t hand_over(const planner& maker, const std::vector<plan_blocks>& slice, memory& from,
                        memory& direct, memory& streamed, memory& writes) {
  auto without = [&](auto member) {
    auto blocks = slice;
    for (auto& item : blocks)
      item.*member = nullptr;
    return make(maker, blocks);
  };
  const auto whole = make(maker, slice);
  const auto sending = without(&plan_blocks::destination);
  const auto receiving = without(&plan_blocks::source);
  check_totals(whole);
  BOOST_TEST_REQUIRE(sending.bytes == whole.bytes);
  BOOST_TEST_REQUIRE(receiving.fragments == whole.fragments);
  copy_all(whole, from, direct, writes);
  scatter(receiving, gather(sending, from), streamed);
  return whole.bytes;
}

/// Hands one request to one receiver, band of layers by band, and compares with the oracle.
void check_receiver(const tests::instances& given, const pair_table& table,
                    const rank_layout& receiver, const request& handed, std::uint32_t slices,
                    const std::vector<layer_range>& bands) {
  memory direct{receiver};
  memory streamed{receiver};
  memory writes{receiver, 0};
  std::uint64_t moved = 0;
  std::vector<std::unique_ptr<planner>> makers;
  std::vector<memory> from;
  for (auto source : table.sources_of(receiver.rank)) {
    const auto& sender = given.context[source];
    makers.push_back(
        std::make_unique<planner>(sender, receiver, *table.find(source, receiver.rank)));
    from.push_back(filled(sender, first_context + source, handed, 0x5A));
  }
  auto expected_writes = memory{receiver, 0};
  for (const auto layers : bands) {
    for (std::size_t i = 0; i < makers.size(); ++i)
      for (std::uint32_t slice = 0; slice < slices; ++slice)
        moved += hand_over(*makers[i], slice_of(handed, makers[i]->pair(), slice, slices, layers),
                           from[i], direct, streamed, writes);
    add_wanted_writes(expected_writes, receiver, handed, layers);
    BOOST_TEST_REQUIRE((writes == expected_writes));
  }
  BOOST_TEST_REQUIRE(moved == bytes_of(expected_writes));
  const auto expected_memory = filled(receiver, receiver.rank, handed, poison);
  BOOST_TEST_REQUIRE((direct == expected_memory));
  BOOST_TEST_REQUIRE((streamed == expected_memory));
}

/// All layers at once, or cut at random and in any order.
std::vector<layer_range> random_bands(std::mt19937_64& random, const tests::instances& given) {
  std::uint32_t layers = 0;
  for (const auto& rank : given.context)
    for (const auto& group : rank.groups)
      layers = std::max(layers, group.buffers.back().layer + 1);
  std::vector<layer_range> bands{{}};
  if (!chance(random, 30))
    return bands;
  while (bands.back().begin + 1 < layers && chance(random, 70)) {
    const auto cut = pick(random, bands.back().begin + 1, layers);
    bands.back().end = cut;
    bands.push_back({cut, layer_range::no_end});
  }
  std::ranges::shuffle(bands, random);
  return bands;
}

void check_valid(const tests::instances& given) {
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
}

// -- one pair of ranks
// --------------------------------------------------------------------------------

side_spec block_of(std::uint32_t tokens, inner_order inner = inner_order::hnd,
                   pool_order pool = pool_order::block_first, std::uint32_t tp = 1) {
  side_spec side;
  side.tokens_per_block = tokens;
  side.inner = inner;
  side.pool = pool;
  side.tp = tp;
  side.blocks = 16;
  return side;
}

/// A model of 2 layers and 4 heads of 16 bytes, on one rank each side unless told otherwise.
struct one_pair {
  explicit one_pair(side_spec context_side = block_of(4), side_spec generation_side = block_of(4))
      : context{build(model(), context_side, instance_role::context)},
        generation{build(model(), generation_side, instance_role::generation)} {}

  static model_spec model() {
    model_spec result;
    result.layers = 2;
    result.kv_heads = 4;
    result.head_dim = 8;
    return result;
  }

  /// The planner from context rank 0 to generation rank 0.
  [[nodiscard]] const planner& maker() {
    if (!maker_) {
      auto table = make_pairs(context, 0, generation, 0);
      BOOST_REQUIRE(table.has_value());
      maker_ = std::make_unique<planner>(context[0], generation[0], *table->find(0, 0));
    }
    return *maker_;
  }

  [[nodiscard]] expected<plan> make(token_range tokens, const group_blocks& source,
                                    const group_blocks& destination) {
    const plan_blocks blocks{"full", tokens, &source, &destination};
    return maker().make({&blocks, 1});
  }

  std::vector<rank_layout> context;
  std::vector<rank_layout> generation;

private:
  std::unique_ptr<planner> maker_;
};

group_blocks table_from(std::uint32_t first_token, std::vector<std::uint32_t> ids) {
  return {"full", first_token, std::move(ids)};
}

void check_refused(const expected<plan>& result, std::string_view text) {
  BOOST_REQUIRE(!result.has_value());
  BOOST_TEST((result.error().code == errc::invalid_argument));
  BOOST_TEST(result.error().text == text);
}

// The planner of one thread shows TSan nothing that takes many layouts.
#ifdef __SANITIZE_THREAD__
constexpr int random_layouts = 100;
#else
constexpr int random_layouts = 2000;
#endif

} // namespace

BOOST_AUTO_TEST_SUITE(plans)

BOOST_AUTO_TEST_CASE(random_layouts_are_handed_over_element_by_element) {
  std::mt19937_64 random{tests::seed()};
  for (int i = 0; i < random_layouts; ++i) {
    const auto given = tests::random_instances(random);
    const auto context_dp = pick(random, 0, given.context[0].dp_size() - 1);
    const auto generation_dp = pick(random, 0, given.generation[0].dp_size() - 1);
    const auto handed = random_request(random, given);
    const auto slices = chance(random, 30) ? pick(random, 2, 4) : 1;
    BOOST_TEST_CONTEXT("case " << i << ": " << given.text) {
      check_valid(given);
      const auto table = make_pairs(given.context, context_dp, given.generation, generation_dp);
      BOOST_REQUIRE(table.has_value());
      const auto bands = random_bands(random, given);
      for (const auto& rank : given.generation)
        if (rank.dp_rank() == generation_dp)
          check_receiver(given, *table, rank, handed, slices, bands);
    }
  }
}

BOOST_AUTO_TEST_CASE(equal_block_first_layouts_copy_whole_blocks_in_one_run) {
  one_pair sides;
  const auto result = sides.make({0, 12}, table_from(0, {3, 1, 2}), table_from(0, {7, 15, 0}));
  BOOST_REQUIRE(result.has_value());
  BOOST_REQUIRE(result->parts.size() == 1u);
  BOOST_TEST(result->parts[0].shape->runs.size() == 1u);
  BOOST_TEST(result->fragments == 3u);
  BOOST_TEST(result->bytes == 3u * 4 * 4 * 16 * 2 * 2);
  const std::vector<slot_pair> expected_pairs{{3, 7}, {1, 15}, {2, 0}};
  BOOST_TEST((result->parts[0].pairs == expected_pairs));
}

BOOST_AUTO_TEST_CASE(a_range_of_layers_moves_these_layers_only) {
  one_pair sides;
  const auto source = table_from(0, {3, 1});
  const auto destination = table_from(0, {7, 15});
  const auto bytes_of = [&](layer_range layers) {
    const plan_blocks blocks{"full", {0, 8}, &source, &destination, {}, {}, layers};
    const auto made = sides.maker().make({&blocks, 1});
    BOOST_REQUIRE(made.has_value());
    BOOST_TEST(made->parts.empty() == (made->bytes == 0));
    return made->bytes;
  };
  constexpr std::uint64_t layer = 2u * 4 * 4 * 16 * 2;
  BOOST_TEST(bytes_of({}) == 2 * layer);
  BOOST_TEST(bytes_of({0, 2}) == 2 * layer);
  BOOST_TEST(bytes_of({0, 1}) == layer);
  BOOST_TEST(bytes_of({1, layer_range::no_end}) == layer);
  BOOST_TEST(bytes_of({1, 100}) == layer);
  BOOST_TEST(bytes_of({2, layer_range::no_end}) == 0u);
  BOOST_TEST(bytes_of({1, 1}) == 0u);
  BOOST_TEST(bytes_of({2, 1}) == 0u);
}

BOOST_AUTO_TEST_CASE(ranges_with_the_same_layers_share_a_template) {
  one_pair sides;
  const auto table = table_from(0, {0});
  const auto shape_of = [&](layer_range layers) {
    const plan_blocks blocks{"full", {0, 4}, &table, &table, {}, {}, layers};
    return sides.maker().make({&blocks, 1}).value().parts.at(0).shape;
  };
  BOOST_TEST(shape_of({}) == shape_of({0, 9}));
  BOOST_TEST(shape_of({1, 2}) == shape_of({1, layer_range::no_end}));
  BOOST_TEST(shape_of({0, 1}) != shape_of({1, 2}));
}

BOOST_AUTO_TEST_CASE(ragged_ends_get_a_template_each) {
  one_pair sides;
  const auto result = sides.make({3, 14}, table_from(0, {0, 1, 2, 3}), table_from(0, {4, 5, 6, 7}));
  BOOST_REQUIRE(result.has_value());
  BOOST_REQUIRE(result->parts.size() == 3u);
  BOOST_TEST(result->parts[0].pairs.size() == 1u);
  BOOST_TEST(result->parts[1].pairs.size() == 2u);
  BOOST_TEST(result->parts[2].pairs.size() == 1u);
  BOOST_TEST(result->bytes == 11u * 4 * 16 * 2 * 2);
}

BOOST_AUTO_TEST_CASE(doubled_block_size_takes_two_templates) {
  one_pair sides{block_of(4), block_of(8)};
  const auto result =
      sides.make({0, 24}, table_from(0, {0, 1, 2, 3, 4, 5}), table_from(0, {9, 8, 7}));
  BOOST_REQUIRE(result.has_value());
  BOOST_REQUIRE(result->parts.size() == 2u);
  const std::vector<slot_pair> first_halves{{0, 9}, {2, 8}, {4, 7}};
  const std::vector<slot_pair> second_halves{{1, 9}, {3, 8}, {5, 7}};
  BOOST_TEST((result->parts[0].pairs == first_halves));
  BOOST_TEST((result->parts[1].pairs == second_halves));
}

BOOST_AUTO_TEST_CASE(a_template_seen_in_a_ragged_period_is_not_made_twice) {
  one_pair sides{block_of(4), block_of(8)};
  const auto result = sides.make({4, 20}, table_from(4, {1, 2, 3, 4}), table_from(0, {9, 8, 7}));
  BOOST_REQUIRE(result.has_value());
  BOOST_REQUIRE(result->parts.size() == 2u);
  const std::vector<slot_pair> second_halves{{1, 9}, {3, 8}};
  const std::vector<slot_pair> first_halves{{2, 8}, {4, 7}};
  BOOST_TEST((result->parts[0].pairs == second_halves));
  BOOST_TEST((result->parts[1].pairs == first_halves));
}

BOOST_AUTO_TEST_CASE(unlike_inner_orders_move_single_rows) {
  one_pair sides{block_of(4, inner_order::hnd), block_of(4, inner_order::nhd)};
  const auto result = sides.make({0, 4}, table_from(0, {0}), table_from(0, {1}));
  BOOST_REQUIRE(result.has_value());
  // Only at the seams between the four buffers do a last row and a first row meet on both sides.
  BOOST_TEST(result->fragments == 2u * 2 * 4 * 4 - 3);
}

BOOST_AUTO_TEST_CASE(mismatched_heads_in_hnd_order_move_one_run_per_layer_and_role) {
  one_pair sides{block_of(4, inner_order::hnd, pool_order::block_first, 2),
                 block_of(4, inner_order::hnd, pool_order::block_first, 4)};
  const auto result = sides.make({0, 8}, table_from(0, {0, 1}), table_from(0, {1, 2}));
  BOOST_REQUIRE(result.has_value());
  BOOST_TEST(result->fragments == 2u * 4);
}

BOOST_AUTO_TEST_CASE(pools_per_layer_and_role_get_a_lane_each) {
  one_pair sides{block_of(4, inner_order::hnd, pool_order::tensor), block_of(4)};
  const auto result = sides.make({0, 4}, table_from(0, {0}), table_from(0, {1}));
  BOOST_REQUIRE(result.has_value());
  BOOST_TEST(result->parts[0].shape->lanes.size() == 4u);
  BOOST_TEST(result->parts[0].shape->runs.size() == 4u);
}

BOOST_AUTO_TEST_CASE(templates_are_remembered_between_plans) {
  one_pair sides;
  const auto first = sides.make({0, 4}, table_from(0, {0}), table_from(0, {1}));
  const auto second = sides.make({4, 12}, table_from(4, {5, 6}), table_from(0, {1, 2, 3}));
  BOOST_REQUIRE((first.has_value() && second.has_value()));
  BOOST_TEST(first->parts[0].shape == second->parts[0].shape);
}

BOOST_AUTO_TEST_CASE(what_beams_share_moves_once_and_each_tail_once) {
  one_pair sides;
  auto source = table_from(0, {0, 1, 2, 3});
  source.tails = {{12, {4}}, {12, {5}}};
  auto destination = table_from(0, {8, 9, 10, 11});
  destination.tails = {{12, {12}}, {12, {13}}};
  const auto result = sides.make({0, 16}, source, destination);
  BOOST_REQUIRE(result.has_value());
  BOOST_REQUIRE(result->parts.size() == 1u);
  const std::vector<slot_pair> pairs{{0, 8}, {1, 9}, {2, 10}, {3, 11}, {4, 12}, {5, 13}};
  BOOST_TEST((result->parts[0].pairs == pairs));
}

BOOST_AUTO_TEST_CASE(a_tail_that_begins_earlier_takes_what_the_source_shares) {
  one_pair sides;
  auto source = table_from(0, {0, 1, 2});
  source.tails = {{8, {3}}, {4, {4, 5}}, {12, {}}};
  auto destination = table_from(0, {8, 9, 10});
  destination.tails = {{4, {11, 12}}, {8, {13}}, {8, {14}}};
  const auto result = sides.make({0, 12}, source, destination);
  BOOST_REQUIRE(result.has_value());
  BOOST_REQUIRE(result->parts.size() == 1u);
  const std::vector<slot_pair> pairs{{0, 8}, {1, 9}, {2, 10}, {1, 11}, {3, 12}, {5, 13}, {2, 14}};
  BOOST_TEST((result->parts[0].pairs == pairs));
}

BOOST_AUTO_TEST_CASE(unlike_beams_and_tails_that_do_not_reach_are_refused) {
  one_pair sides;
  const auto one = table_from(0, {0, 1, 2, 3});
  auto two = one;
  two.tails = {{12, {4}}};
  check_refused(sides.make({0, 16}, one, two),
                "group \"full\": the source has 1 beams, the destination 2; give both as many");
  auto broken = two;
  broken.tails[0].blocks.clear();
  check_refused(sides.make({0, 16}, broken, two),
                "group \"full\": the source tail of beam 1 covers tokens [12, 12), wanted are [12, "
                "16)");
  broken.tails[0] = {12, {16}};
  check_refused(
      sides.make({0, 16}, two, broken),
      "group \"full\": destination block 16 at token 12 is out of range: the pool has 16 slots");
  broken.tails[0] = {10, {4, 5}};
  check_refused(sides.make({0, 16}, two, broken),
                "group \"full\": the destination tail of beam 1's first token 10 is not a multiple "
                "of its 4 tokens per block");
}

BOOST_AUTO_TEST_CASE(states_of_many_elements_move_in_few_runs) {
  auto model = one_pair::model();
  model.state = handoff::state_spec{{1}, 3u << 20, 64, 4096};
  const auto generation = build(model, block_of(4), instance_role::generation);
  for (const std::uint32_t tp : {1u, 3u, 16u}) {
    const auto context =
        build(model, block_of(8, inner_order::nhd, pool_order::tensor, tp), instance_role::context);
    const auto table = make_pairs(context, 0, generation, 0);
    BOOST_REQUIRE(table.has_value());
    std::uint64_t moved = 0;
    for (const auto& pair : table->pairs) {
      const planner maker{context[pair.source], generation[0], pair};
      const group_blocks slot{"state", 0, {5}};
      const auto result = make(maker, {{"state", state_slot, &slot, &slot}});
      BOOST_TEST(result.fragments == 2u);
      moved += result.bytes;
    }
    BOOST_TEST(moved == (3u << 20) + 64 * 4096);
  }
}

BOOST_AUTO_TEST_CASE(slots_without_a_table_are_left_zero) {
  one_pair sides;
  const auto table = table_from(0, {5, 6});
  const plan_blocks blocks{"full", {0, 8}, &table, nullptr};
  const auto result = sides.maker().make({&blocks, 1});
  BOOST_REQUIRE(result.has_value());
  const std::vector<slot_pair> expected_pairs{{5, 0}, {6, 0}};
  BOOST_TEST((result->parts[0].pairs == expected_pairs));
}

BOOST_AUTO_TEST_CASE(empty_ranges_and_foreign_or_missing_groups_move_nothing) {
  one_pair sides;
  const auto table = table_from(0, {0});
  const std::vector<plan_blocks> blocks{{"full", {4, 4}, &table, &table},
                                        {"other", {0, 4}, &table, &table}};
  for (std::size_t count : {0u, 2u}) {
    const auto result = sides.maker().make({blocks.data(), count});
    BOOST_REQUIRE(result.has_value());
    BOOST_TEST(result->parts.empty());
    BOOST_TEST(result->bytes == 0u);
  }
}

BOOST_AUTO_TEST_CASE(the_order_of_the_given_groups_does_not_matter) {
  auto model = one_pair::model();
  model.groups = {{"b", {0}, 0}, {"a", {1}, 8}};
  const auto context = build(model, block_of(4), instance_role::context);
  const auto generation = build(model, block_of(4), instance_role::generation);
  const auto table = make_pairs(context, 0, generation, 0);
  BOOST_REQUIRE(table.has_value());
  const planner maker{context[0], generation[0], table->pairs[0]};
  const std::vector<std::string> names{"b", "a"};
  BOOST_TEST((maker.groups() == names));
  const group_blocks a{"a", 0, {1, 2}};
  const group_blocks b{"b", 0, {3}};
  const std::vector<plan_blocks> one{{"a", {0, 8}, &a, &a}, {"b", {0, 4}, &b, &b}};
  const std::vector<plan_blocks> other{one[1], one[0]};
  const auto left = make(maker, one);
  const auto right = make(maker, other);
  BOOST_REQUIRE(left.parts.size() == 2u);
  BOOST_REQUIRE(right.parts.size() == 2u);
  for (std::size_t i : {0u, 1u}) {
    BOOST_TEST(left.parts[i].shape == right.parts[i].shape);
    BOOST_TEST((left.parts[i].pairs == right.parts[i].pairs));
  }
  BOOST_TEST(left.parts[0].pairs.size() == 1u);
}

BOOST_AUTO_TEST_CASE(the_last_slot_is_planned_and_one_past_it_is_refused) {
  one_pair sides;
  const auto good = table_from(4, {0, 15});
  const auto bad = table_from(4, {0, 16});
  const auto worst = table_from(4, {0, 0xFFFFFFFF});
  BOOST_TEST(sides.make({4, 12}, good, good).has_value());
  check_refused(
      sides.make({4, 12}, bad, good),
      "group \"full\": source block 16 at token 8 is out of range: the pool has 16 slots");
  check_refused(
      sides.make({4, 12}, good, bad),
      "group \"full\": destination block 16 at token 8 is out of range: the pool has 16 slots");
  BOOST_TEST(!sides.make({4, 12}, worst, good).has_value());
  BOOST_TEST(sides.make({4, 8}, bad, bad).has_value(), "blocks outside of the range do not matter");
}

BOOST_AUTO_TEST_CASE(the_smallest_pool_of_a_group_bounds_its_block_ids) {
  one_pair sides{block_of(4, inner_order::hnd, pool_order::tensor),
                 block_of(4, inner_order::hnd, pool_order::tensor)};
  sides.generation[0].pools[2].slots = 8;
  const auto eight = table_from(0, {8});
  BOOST_TEST(sides.make({0, 4}, eight, table_from(0, {7})).has_value());
  check_refused(
      sides.make({0, 4}, eight, eight),
      "group \"full\": destination block 8 at token 0 is out of range: the pool has 8 slots");
}

BOOST_AUTO_TEST_CASE(a_table_must_cover_its_range) {
  one_pair sides;
  const auto whole = table_from(0, {0, 1, 2, 3});
  const auto middle = table_from(4, {0, 1});
  BOOST_TEST(sides.make({4, 12}, middle, whole).has_value());
  check_refused(sides.make({4, 13}, middle, whole),
                "group \"full\": the source table covers tokens [4, 12), wanted are [4, 13)");
  check_refused(sides.make({3, 12}, whole, middle),
                "group \"full\": the destination table covers tokens [4, 12), wanted are [3, 12)");
  check_refused(sides.make({4, 8}, table_from(2, {0, 1}), whole),
                "group \"full\": the source table's first token 2 is not a multiple of its 4 "
                "tokens per block");
}

BOOST_AUTO_TEST_CASE(a_group_given_twice_is_refused) {
  one_pair sides;
  const auto table = table_from(0, {0});
  const std::vector<plan_blocks> blocks(2, {"full", {0, 4}, &table, &table});
  check_refused(sides.maker().make(blocks), "group \"full\" is given twice");
}

BOOST_AUTO_TEST_CASE(threads_may_plan_at_once) {
  one_pair sides{block_of(4), block_of(3)};
  const auto& maker = sides.maker();
  const auto source = table_from(0, {0, 1, 2, 3, 4, 5});
  const auto destination = table_from(0, {0, 1, 2, 3, 4, 5, 6, 7});
  std::vector<std::uint64_t> moved(4);
  std::vector<std::thread> threads;
  for (auto& sum : moved)
    threads.emplace_back([&] {
      for (std::uint32_t end = 1; end <= 24; ++end) {
        const plan_blocks blocks{"full", {0, end}, &source, &destination};
        if (const auto result = maker.make({&blocks, 1}))
          sum += result->bytes;
      }
    });
  for (auto& thread : threads)
    thread.join();
  for (auto sum : moved)
    BOOST_TEST(sum == 24u * 25 / 2 * 4 * 16 * 2 * 2);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
