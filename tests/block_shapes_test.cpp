// Blocks that move between ranks whose layouts differ, looked at byte by byte.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "examples/support/value_of.hpp"
#include "tests/support/nodes.hpp"

using namespace baton;
using namespace baton::test;
using namespace std::chrono_literals;
using baton::examples::value_of;
using boost::unit_test::data::make;
using handoff::inner_order;
using handoff::pool_order;
using handoff::side_spec;

namespace {

/// The last block of any size is not full.
constexpr std::uint32_t tokens = 14;

constexpr bool over_ucx[] = {false, true};

side_spec side(std::uint32_t tp, std::uint32_t pp, std::uint32_t tokens_per_block,
               inner_order inner, pool_order pool) {
  side_spec made;
  made.tp = tp;
  made.pp = pp;
  made.tokens_per_block = tokens_per_block;
  made.inner = inner;
  made.pool = pool;
  made.blocks = 32;
  return made;
}

const side_spec plain = side(1, 1, 4, inner_order::hnd, pool_order::block_first);
const side_spec wide = side(2, 1, 8, inner_order::nhd, pool_order::block_first);
const side_spec staged = side(1, 2, 2, inner_order::hnd, pool_order::layer_first);
const side_spec replicated = side(4, 1, 4, inner_order::nhd, pool_order::tensor);

std::vector<std::unique_ptr<node>> instance_of(const std::string& name, const side_spec& form,
                                               instance_role role, bool ucx) {
  handoff::model_spec model;
  model.layers = 3;
  model.kv_heads = 2;
  model.head_dim = 8;
  plane_options lanes;
  lanes.lanes = ucx ? lane_policy::ucx : lane_policy::mapped;
  std::vector<std::unique_ptr<node>> ranks;
  for (auto& layout : value_of(handoff::build_instance(model, form, role, name)))
    ranks.push_back(std::make_unique<node>(std::move(layout),
                                           ranks.empty() ? "" : ranks[0]->door().endpoint(),
                                           transceiver_options{}, lanes));
  return ranks;
}

/// Every other slot from `first` on.
std::vector<group_blocks> table(const node& rank, std::uint32_t first) {
  const auto per_block = rank.layout().groups[0].tokens_per_block;
  group_blocks blocks{"full", 0, {}, {}};
  for (std::uint32_t token = 0; token < tokens; token += per_block)
    blocks.blocks.push_back(first + 2 * (token / per_block));
  return {blocks};
}

/// Calls `visit` with the bytes of each (head, token) and the byte that stands for it.
template <class Visit>
void for_each_row(node& rank, const group_blocks& where, Visit visit) {
  const auto& group = rank.layout().groups[0];
  for (const auto& buffer : group.buffers)
    for (std::uint32_t i = 0; i < buffer.head_count; ++i)
      for (std::uint32_t token = 0; token < tokens; ++token) {
        const auto slot = where.blocks[token / group.tokens_per_block];
        auto* const row = rank.plane().pool(buffer.pool).data() + buffer.offset +
                          slot * buffer.slot_stride + i * buffer.head_stride +
                          token % group.tokens_per_block * buffer.token_stride;
        const auto id = ((buffer.layer * 3 + static_cast<std::uint32_t>(buffer.role)) * 5 +
                         buffer.first_head + i) *
                            17 +
                        token + 1;
        visit(row, buffer.row_bytes(), static_cast<std::byte>(id % 251 + 1));
      }
}

standing_offer offer(node& rank) {
  auto blocks = table(rank, 3);
  for_each_row(rank, blocks[0], [](std::byte* row, std::size_t bytes, std::byte value) {
    std::fill_n(row, bytes, value);
  });
  return value_of(
      rank.door().offer_blocks({{{"full", {0, tokens}, {}, {}}}, std::move(blocks), 20s}));
}

std::size_t wrong_rows(node& rank, std::uint32_t first) {
  std::size_t wrong = 0;
  for_each_row(rank, table(rank, first)[0],
               [&](const std::byte* row, std::size_t bytes, std::byte value) {
                 wrong += std::any_of(row, row + bytes, [&](std::byte b) { return b != value; });
               });
  return wrong;
}

/// Has a rank pull what all ranks of the other instance offer.
void pull_all(node& reader, const std::vector<standing_offer>& offers) {
  std::size_t brought = 0;
  bool whole = false;
  for (const auto& one : offers) {
    block_pull what;
    what.offer = one.bytes;
    what.blocks = table(reader, 4);
    what.timeout = 10s;
    const auto result = reader.door().pull_blocks(what);
    if (result.failure) {
      BOOST_TEST((result.failure->code == errc::invalid_argument));
      BOOST_TEST(result.failure->text.find("no heads or layers") != std::string::npos,
                 to_string(*result.failure));
      continue;
    }
    ++brought;
    whole = whole || result.whole;
    if (result.whole)
      BOOST_TEST(wrong_rows(reader, 4) == 0u);
  }
  BOOST_TEST(brought > 0u);
  // What one owner alone brings is all, and says so.
  BOOST_TEST((brought > 1 || whole));
  BOOST_TEST(wrong_rows(reader, 4) == 0u);
}

} // namespace

BOOST_AUTO_TEST_SUITE(block_shapes)

BOOST_DATA_TEST_CASE(blocks_arrive_in_their_readers_layout, make(over_ucx), ucx) {
  const std::pair<const side_spec*, const side_spec*> shapes[] = {{&plain, &wide},
                                                                  {&wide, &plain},
                                                                  {&wide, &staged},
                                                                  {&staged, &replicated},
                                                                  {&replicated, &wide}};
  const std::pair<instance_role, instance_role> roles[] = {
      {instance_role::context, instance_role::context},
      {instance_role::generation, instance_role::generation},
      {instance_role::context, instance_role::generation}};
  for (const auto& [from, to] : shapes)
    for (const auto& [owner_role, reader_role] : roles) {
      BOOST_TEST_CONTEXT("tp " << from->tp << " to " << to->tp << ", " << to_string(owner_role)
                               << " to " << to_string(reader_role)) {
        auto owners = instance_of("a", *from, owner_role, ucx);
        auto readers = instance_of("b", *to, reader_role, ucx);
        std::vector<standing_offer> offers;
        for (auto& owner : owners)
          offers.push_back(offer(*owner));
        for (auto& reader : readers)
          pull_all(*reader, offers);
        for (std::size_t i = 0; i < owners.size(); ++i)
          BOOST_TEST(owners[i]->door().withdraw_offer(offers[i].id));
      }
    }
}

BOOST_AUTO_TEST_SUITE_END()
