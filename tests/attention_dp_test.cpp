// Attention data parallelism on either side or on both: the parameters that a router carries say
// which group of the context side computes a request.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <optional>
#include <vector>

#include "examples/support/value_of.hpp"
#include "messages/params.hpp"
#include "tests/support/nodes.hpp"

using namespace baton;
using namespace baton::test;
using baton::examples::value_of;
using boost::unit_test::data::make;

namespace {

deployment::shape shape_of(bool context_dp, bool generation_dp, std::uint32_t pp) {
  deployment::shape form;
  form.model.layers = 2;
  form.model.kv_heads = 2;
  form.context.tp = form.generation.tp = 2;
  form.context.pp = pp;
  form.context.attention_dp = context_dp;
  form.generation.attention_dp = generation_dp;
  return form;
}

/// The ranks that belong to one dp group.
std::vector<node*> group(std::vector<std::unique_ptr<node>>& ranks, std::uint32_t number) {
  std::vector<node*> members;
  for (auto& rank : ranks)
    if (rank->layout().dp_rank() == number)
      members.push_back(rank.get());
  return members;
}

} // namespace

BOOST_AUTO_TEST_SUITE(attention_dp)

BOOST_DATA_TEST_CASE(every_group_reaches_every_group,
                     make({false, true}) * make({false, true}) * make({1u, 2u}), context_dp,
                     generation_dp, pp) {
  deployment world{shape_of(context_dp, generation_dp, pp)};
  std::uint64_t id = 0;
  for (std::uint32_t from = 0; from < (context_dp ? 2u : 1u); ++from)
    for (std::uint32_t to = 0; to < (generation_dp ? 2u : 1u); ++to) {
      ++id;
      const auto block = static_cast<std::uint32_t>(2 * id);
      const auto byte = static_cast<std::uint8_t>(16 * id);
      std::optional<std::string> params;
      for (auto* rank : group(world.contexts, from)) {
        rank->fill(block, byte);
        // Those of any rank of the group are the same.
        const auto mine = encode(rank->door().get_disaggregated_params());
        BOOST_TEST((!params || *params == mine));
        params = mine;
        BOOST_REQUIRE(rank->door().respond_and_send_async(world.slice(id, block, 4)).has_value());
      }
      auto wish = world.wish(id, block + 1, 4);
      wish.context = value_of(decode_params(*params));
      BOOST_TEST(wish.context.dp_rank == from);
      for (auto* rank : group(world.generations, to)) {
        rank->fill(block + 1, 0xee);
        BOOST_REQUIRE(rank->door().request_and_receive_async(wish).has_value());
      }
      for (auto* rank : group(world.generations, to)) {
        const auto received = rank->door().check_gen_transfer_status(1);
        BOOST_REQUIRE(received.size() == 1u);
        BOOST_TEST(received[0].completed(), (received[0].failure ? received[0].failure->text : ""));
        BOOST_TEST(rank->holds(block + 1, byte));
      }
      for (auto* rank : group(world.contexts, from)) {
        const auto sent = rank->door().check_context_transfer_status(1);
        BOOST_REQUIRE(sent.size() == 1u);
        BOOST_TEST(sent[0].completed());
      }
    }
  BOOST_TEST(world.leftovers() == "");
}

BOOST_AUTO_TEST_CASE(a_group_that_does_not_exist_is_refused) {
  deployment world{shape_of(true, true, 1)};
  auto wish = world.wish(1, 3, 4);
  wish.context.dp_rank = 2;
  const auto result = world.generation().door().request_and_receive_sync(wish);
  BOOST_REQUIRE(result.failure.has_value());
  BOOST_TEST_MESSAGE(result.failure->text);
  BOOST_TEST((result.failure->code == errc::invalid_argument));
}

BOOST_AUTO_TEST_SUITE_END()
