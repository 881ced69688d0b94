#include "transport/plan/pairs.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <boost/test/unit_test.hpp>

#include "tests/support/layouts.hpp"

namespace baton {

namespace {

using handoff::model_spec;
using handoff::side_spec;
using tests::build;

side_spec ranks(std::uint32_t tp, std::uint32_t pp = 1, bool attention_dp = false) {
  side_spec side;
  side.tp = tp;
  side.pp = pp;
  side.attention_dp = attention_dp;
  return side;
}

model_spec gqa(std::uint32_t layers, std::uint32_t heads) {
  model_spec model;
  model.layers = layers;
  model.kv_heads = heads;
  return model;
}

model_spec mla(std::uint32_t layers) {
  auto model = gqa(layers, 1);
  model.mla = true;
  return model;
}

pair_table table_of(const model_spec& model, const side_spec& context, const side_spec& generation,
                    std::uint32_t context_dp = 0, std::uint32_t generation_dp = 0) {
  auto table = make_pairs(build(model, context, instance_role::context), context_dp,
                          build(model, generation, instance_role::generation), generation_dp);
  BOOST_REQUIRE_MESSAGE(table.has_value(), (table ? "" : table.error().text));
  return std::move(*table);
}

/// How many heads of buffers move from each source to each receiver.
std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t>
heads_moved(const pair_table& table) {
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> result;
  for (const auto& pair : table.pairs)
    for (const auto& part : pair.parts)
      result[{pair.source, pair.destination}] += part.head_count;
  return result;
}

using moved = std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t>;

/// Every head of every buffer of the receivers comes from exactly one source, which holds it.
void check_coverage(const tests::instances& given, const pair_table& table,
                    std::uint32_t context_dp, std::uint32_t generation_dp) {
  std::set<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>> seen;
  for (const auto& pair : table.pairs) {
    const auto& from = given.context[pair.source];
    const auto& to = given.generation[pair.destination];
    BOOST_TEST_REQUIRE(from.dp_rank() == context_dp);
    BOOST_TEST_REQUIRE(to.dp_rank() == generation_dp);
    BOOST_TEST_REQUIRE(!pair.parts.empty());
    for (const auto& part : pair.parts) {
      const auto& source = from.groups[part.source_group].buffers[part.source_buffer];
      const auto& target = to.groups[part.destination_group].buffers[part.destination_buffer];
      BOOST_TEST_REQUIRE(source.layer == target.layer);
      BOOST_TEST_REQUIRE((source.role == target.role));
      for (auto head = part.first_head; head < part.first_head + part.head_count; ++head) {
        BOOST_TEST_REQUIRE(
            (head >= source.first_head && head < source.first_head + source.head_count));
        BOOST_TEST_REQUIRE(
            seen.insert({pair.destination, part.destination_group, part.destination_buffer, head})
                .second);
      }
    }
  }
  std::size_t wanted = 0;
  for (const auto& rank : given.generation)
    if (rank.dp_rank() == generation_dp)
      for (const auto& group : rank.groups)
        for (const auto& buffer : group.buffers)
          wanted += buffer.head_count;
  BOOST_TEST_REQUIRE(seen.size() == wanted);
}

/// The look-ups agree with plain scans, and idle sources are those without a receiver.
void check_lookups(const tests::instances& given, const pair_table& table, std::uint32_t context_dp,
                   std::uint32_t generation_dp) {
  std::map<std::uint32_t, std::vector<std::uint32_t>> sources;
  std::map<std::uint32_t, std::vector<std::uint32_t>> receivers;
  for (const auto& pair : table.pairs) {
    sources[pair.destination].push_back(pair.source);
    receivers[pair.source].push_back(pair.destination);
    BOOST_TEST_REQUIRE(table.find(pair.source, pair.destination) == &pair);
  }
  for (const auto& rank : given.generation)
    BOOST_TEST_REQUIRE(table.sources_of(rank.rank) == sources[rank.rank]);
  auto idle = table.idle.begin();
  for (const auto& rank : given.context) {
    BOOST_TEST_REQUIRE(table.receivers_of(rank.rank) == receivers[rank.rank]);
    if (rank.dp_rank() != context_dp || !receivers[rank.rank].empty())
      continue;
    BOOST_TEST_REQUIRE((idle != table.idle.end() && idle->source == rank.rank));
    BOOST_TEST_REQUIRE(given.generation[idle->teller].dp_rank() == generation_dp);
    ++idle;
  }
  BOOST_TEST_REQUIRE((idle == table.idle.end()));
}

/// What one receiver works out for itself is what the whole table says of it.
void check_receiver_rows(const tests::instances& given, const pair_table& table,
                         std::uint32_t context_dp, std::uint32_t generation_dp) {
  for (const auto& rank : given.generation) {
    if (rank.dp_rank() != generation_dp)
      continue;
    const auto row = make_receiver_row(given.context, context_dp, given.generation, rank);
    BOOST_REQUIRE(row.has_value());
    const auto sources = table.sources_of(rank.rank);
    BOOST_TEST_REQUIRE(row->sources.size() == sources.size());
    for (std::size_t i = 0; i < sources.size(); ++i) {
      BOOST_TEST_REQUIRE((row->sources[i].pair == *table.find(sources[i], rank.rank)));
      BOOST_TEST_REQUIRE(row->sources[i].receivers == table.receivers_of(sources[i]).size());
    }
    std::vector<std::uint32_t> idle;
    for (const auto& [source, teller] : table.idle)
      if (teller == rank.rank)
        idle.push_back(source);
    BOOST_TEST_REQUIRE(row->idle == idle);
  }
}

/// The same of one source, with the tables of all dp groups of the generation.
void check_source_row(const tests::instances& given, const rank_layout& source) {
  std::map<std::uint32_t, rank_pair> expected;
  for (std::uint32_t dp = 0; dp < given.generation[0].dp_size(); ++dp) {
    const auto table = make_pairs(given.context, source.dp_rank(), given.generation, dp);
    BOOST_REQUIRE(table.has_value());
    for (const auto receiver : table->receivers_of(source.rank))
      expected.emplace(receiver, *table->find(source.rank, receiver));
  }
  const auto row = make_source_row(given.context, source, given.generation);
  BOOST_REQUIRE(row.has_value());
  BOOST_TEST_REQUIRE(row->size() == expected.size());
  auto next = expected.begin();
  for (const auto& pair : *row)
    BOOST_TEST_REQUIRE((pair == (next++)->second));
}

} // namespace

BOOST_AUTO_TEST_SUITE(pairs)

BOOST_AUTO_TEST_CASE(ranks_of_equal_shards_pair_off) {
  const auto table = table_of(gqa(3, 4), ranks(2), ranks(2));
  BOOST_TEST((heads_moved(table) == moved{{{0, 0}, 12}, {{1, 1}, 12}}));
  BOOST_TEST(table.idle.empty());
}

BOOST_AUTO_TEST_CASE(a_wider_receiver_side_splits_the_heads_of_each_source) {
  const auto table = table_of(gqa(1, 4), ranks(2), ranks(4));
  BOOST_TEST((heads_moved(table) == moved{{{0, 0}, 2}, {{0, 1}, 2}, {{1, 2}, 2}, {{1, 3}, 2}}));
}

BOOST_AUTO_TEST_CASE(uneven_heads_come_from_the_ranks_that_hold_them) {
  // Of 3 heads, context rank 0 has head 0, rank 1 has heads 1 and 2.
  const auto table = table_of(gqa(1, 3), ranks(2), ranks(1));
  BOOST_TEST((heads_moved(table) == moved{{{0, 0}, 2}, {{1, 0}, 4}}));
}

BOOST_AUTO_TEST_CASE(pipeline_stages_are_intersected_by_layer) {
  auto context = ranks(1, 2);
  context.pp_layers = {1, 3};
  const auto table = table_of(gqa(4, 1), context, ranks(1, 2));
  BOOST_TEST((heads_moved(table) == moved{{{0, 0}, 2}, {{1, 0}, 2}, {{1, 1}, 4}}));
}

BOOST_AUTO_TEST_CASE(layers_of_a_replicated_latent_are_spread_over_all_holders) {
  const auto table = table_of(mla(8), ranks(4), ranks(2));
  for (const auto& [pair, heads] : heads_moved(table))
    BOOST_TEST(heads == 2u, pair.first << " -> " << pair.second);
  BOOST_TEST(table.pairs.size() == 8u);
}

BOOST_AUTO_TEST_CASE(layers_of_replicated_heads_are_spread_over_their_holders) {
  const auto table = table_of(gqa(6, 2), ranks(4), ranks(2));
  BOOST_TEST((heads_moved(table) == moved{{{0, 0}, 6}, {{1, 0}, 6}, {{2, 1}, 6}, {{3, 1}, 6}}));
}

BOOST_AUTO_TEST_CASE(interleaved_groups_are_each_spread_over_all_holders) {
  auto model = mla(8);
  model.groups = {{"full", {0, 2, 4, 6}, 0}, {"swa", {1, 3, 5, 7}, 16}};
  const auto table = table_of(model, ranks(2), ranks(1));
  for (const auto& pair : table.pairs)
    for (std::uint32_t group : {0, 1})
      BOOST_TEST(std::ranges::count(pair.parts, group, &head_part::destination_group) == 2);
}

BOOST_AUTO_TEST_CASE(a_source_without_receivers_is_told_by_one_rank_of_the_receiving_group) {
  const auto table = table_of(mla(1), ranks(4), ranks(2));
  BOOST_TEST((heads_moved(table) == moved{{{0, 0}, 1}, {{1, 1}, 1}}));
  const std::vector<pair_table::idle_source> expected{{2, 0}, {3, 1}};
  BOOST_TEST((table.idle == expected));
}

BOOST_AUTO_TEST_CASE(only_ranks_of_the_two_dp_groups_take_part) {
  const auto table = table_of(gqa(2, 4), ranks(2, 2, true), ranks(4, 1, true), 1, 3);
  BOOST_TEST((heads_moved(table) == moved{{{1, 3}, 8}, {{3, 3}, 8}}));
  BOOST_TEST(table.sources_of(0).empty());
  BOOST_TEST(table.idle.empty());
}

BOOST_AUTO_TEST_CASE(a_dp_rank_out_of_range_is_refused_by_name) {
  const auto context = build(gqa(1, 2), ranks(2, 1, true), instance_role::context);
  const auto generation = build(gqa(1, 2), ranks(2), instance_role::generation);
  BOOST_TEST(make_pairs(context, 1, generation, 0).has_value());
  const auto wrong_context = make_pairs(context, 2, generation, 0);
  BOOST_REQUIRE(!wrong_context);
  BOOST_TEST((wrong_context.error().code == errc::invalid_argument));
  BOOST_TEST(wrong_context.error().text.find("context dp rank 2") != std::string::npos);
  const auto wrong_row = make_receiver_row(context, 2, generation, generation[0]);
  BOOST_REQUIRE(!wrong_row);
  BOOST_TEST(wrong_row.error().text == wrong_context.error().text);
  const auto wrong_generation = make_pairs(context, 0, generation, 1);
  BOOST_REQUIRE(!wrong_generation);
  BOOST_TEST(wrong_generation.error().text.find("generation dp rank 1") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_head_that_nobody_holds_is_named) {
  auto context = build(gqa(2, 4), ranks(2), instance_role::context);
  const auto generation = build(gqa(2, 4), ranks(2), instance_role::generation);
  context[1].groups[0].buffers[2].head_count = 1; // layer 1, key, heads 2 and 3
  const auto table = make_pairs(context, 0, generation, 0);
  BOOST_REQUIRE(!table);
  BOOST_TEST((table.error().code == errc::incompatible_layout));
  BOOST_TEST(table.error().text.find("head 3 of layer 1 key") != std::string::npos,
             table.error().text);
  const auto row = make_receiver_row(context, 0, generation, generation[0]);
  BOOST_REQUIRE(!row);
  BOOST_TEST(row.error().text == table.error().text);
  BOOST_TEST(!make_source_row(context, context[0], generation));
}

BOOST_AUTO_TEST_CASE(an_unknown_pair_is_not_found) {
  const auto table = table_of(gqa(1, 2), ranks(2), ranks(2));
  BOOST_TEST(table.find(0, 0) != nullptr);
  BOOST_TEST(table.find(0, 1) == nullptr);
  BOOST_TEST(table.find(7, 7) == nullptr);
  BOOST_TEST(table.sources_of(7).empty());
  BOOST_TEST(table.receivers_of(7).empty());
}

BOOST_AUTO_TEST_CASE(random_instances_are_covered_head_by_head) {
  std::mt19937_64 random{tests::seed()};
  for (int i = 0; i < 300; ++i) {
    const auto given = tests::random_instances(random);
    BOOST_TEST_CONTEXT("case " << i << ": " << given.text) {
      const auto context_dp = tests::pick(random, 0, given.context[0].dp_size() - 1);
      const auto generation_dp = tests::pick(random, 0, given.generation[0].dp_size() - 1);
      const auto table = make_pairs(given.context, context_dp, given.generation, generation_dp);
      BOOST_REQUIRE_MESSAGE(table.has_value(), (table ? "" : table.error().text));
      check_coverage(given, *table, context_dp, generation_dp);
      check_lookups(given, *table, context_dp, generation_dp);
      check_receiver_rows(given, *table, context_dp, generation_dp);
      check_source_row(
          given, given.context[tests::pick(random, 0,
                                           static_cast<std::uint32_t>(given.context.size() - 1))]);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
