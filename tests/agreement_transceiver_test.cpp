// Ranks that agree on what their status calls return, through real doors in one process.
#include <future>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "tests/support/nodes.hpp"

using namespace baton;
using namespace baton::test;
using namespace std::chrono_literals;

namespace {

deployment::shape agreeing(std::uint32_t tp, bool dp = false) {
  deployment::shape form;
  form.model.kv_heads = 2;
  form.context.tp = form.generation.tp = tp;
  form.context.attention_dp = form.generation.attention_dp = dp;
  form.context_options.agreement.on = form.generation_options.agreement.on = true;
  return form;
}

/// Makes status calls on a rank until `count` requests have ended; returns what each call returned.
std::future<std::vector<std::vector<outcome>>> collect(node& rank, std::size_t count) {
  return std::async(std::launch::async, [&rank, count] {
    std::vector<std::vector<outcome>> calls;
    const auto until = std::chrono::steady_clock::now() + 20s;
    for (std::size_t ended = 0; ended < count && std::chrono::steady_clock::now() < until;) {
      calls.push_back(rank.layout().role == instance_role::context
                          ? rank.door().check_context_transfer_status()
                          : rank.door().check_gen_transfer_status());
      ended += calls.back().size();
    }
    return calls;
  });
}

void check_alike(const std::vector<std::vector<outcome>>& a,
                 const std::vector<std::vector<outcome>>& b) {
  BOOST_REQUIRE(a.size() == b.size());
  for (std::size_t n = 0; n < a.size(); ++n) {
    BOOST_REQUIRE(a[n].size() == b[n].size());
    for (std::size_t i = 0; i < a[n].size(); ++i) {
      BOOST_TEST((a[n][i].request == b[n][i].request));
      BOOST_TEST((a[n][i].state == b[n][i].state));
      BOOST_TEST((a[n][i].agreed && b[n][i].agreed));
    }
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(agreement_of_transceivers)

BOOST_AUTO_TEST_CASE(every_call_returns_the_same_on_every_rank) {
  deployment world{agreeing(2)};
  constexpr std::uint64_t requests = 6;
  for (std::uint64_t id = 1; id <= requests; ++id)
    for (std::size_t rank = 0; rank < 2; ++rank) {
      const auto block = static_cast<std::uint32_t>(2 * id);
      // The last one is offered in part only; one rank cancels it.
      auto slice = world.slice(id, block, 8);
      if (id == requests) {
        slice.tokens = {0, 4};
        slice.last = false;
      }
      BOOST_REQUIRE(world.context(rank).door().respond_and_send_async(slice).has_value());
      BOOST_REQUIRE(world.generation(rank)
                        .door()
                        .request_and_receive_async(world.wish(id, block, 8))
                        .has_value());
    }
  std::vector<std::future<std::vector<std::vector<outcome>>>> calls;
  for (std::size_t rank = 0; rank < 2; ++rank) {
    calls.push_back(collect(world.context(rank), requests));
    calls.push_back(collect(world.generation(rank), requests));
  }
  BOOST_TEST(world.generation(1).door().cancel_request(request_id{requests}));
  std::vector<std::vector<std::vector<outcome>>> answers;
  for (auto& call : calls)
    answers.push_back(call.get());
  check_alike(answers[0], answers[2]);
  check_alike(answers[1], answers[3]);
  std::size_t completed = 0;
  for (const auto& call : answers[1])
    for (const auto& result : call) {
      completed += result.completed();
      if (result.request == request_id{requests})
        BOOST_TEST((result.failure && result.failure->code == errc::cancelled));
    }
  BOOST_TEST(completed == requests - 1);
  BOOST_TEST(world.leftovers() == "");
}

BOOST_AUTO_TEST_CASE(a_request_is_ready_on_all_ranks_or_on_none) {
  deployment world{agreeing(2)};
  const request_id id{1};
  const auto prepare = [&](std::size_t rank, std::vector<context_request> requests = {}) {
    return std::async(std::launch::async, [&world, rank, requests] {
      return world.context(rank).door().prepare_context_requests(requests);
    });
  };
  const auto both = [&](std::vector<context_request> requests = {}) {
    auto a = prepare(0, requests), b = prepare(1, requests);
    return std::pair{a.get(), b.get()};
  };
  auto [a, b] = both({{id, 10s}});
  BOOST_TEST((a.refused.empty() && b.refused.empty()));
  BOOST_REQUIRE(
      world.generation(0).door().request_and_receive_async(world.wish(1, 9, 4)).has_value());
  const auto until = std::chrono::steady_clock::now() + 10s;
  while (world.context(0).door().state_of(id) != request_state::context_init &&
         std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(1ms);
  // Rank 0 was asked by its only receiver, rank 1 was not.
  BOOST_TEST((world.context(0).door().state_of(id) == request_state::context_init));
  std::tie(a, b) = both();
  BOOST_TEST((a.ready.empty() && b.ready.empty()));
  BOOST_REQUIRE(
      world.generation(1).door().request_and_receive_async(world.wish(1, 9, 4)).has_value());
  do
    std::tie(a, b) = both();
  while (a.ready.empty() && std::chrono::steady_clock::now() < until);
  BOOST_TEST((a.ready == std::vector{id}));
  BOOST_TEST((b.ready == std::vector{id}));
  for (std::size_t rank = 0; rank < 2; ++rank)
    BOOST_REQUIRE(world.context(rank).door().respond_and_send_async(world.slice(1, 3, 4)));
  auto one = collect(world.generation(0), 1), other = collect(world.generation(1), 1);
  check_alike(one.get(), other.get());
}

BOOST_AUTO_TEST_CASE(a_rank_alone_in_its_group_agrees_with_itself) {
  for (const bool dp : {false, true}) {
    deployment world{agreeing(dp ? 2 : 1, dp)};
    BOOST_REQUIRE(world.context().door().respond_and_send_async(world.slice(1, 3, 4)));
    BOOST_REQUIRE(world.generation().door().request_and_receive_async(world.wish(1, 9, 4)));
    const auto received = world.generation().door().check_gen_transfer_status(1);
    BOOST_REQUIRE(received.size() == 1u);
    BOOST_TEST(received[0].completed());
    BOOST_TEST(received[0].agreed);
  }
}

BOOST_AUTO_TEST_CASE(without_the_directory_calls_end_soon_with_what_the_rank_knows) {
  auto form = agreeing(2);
  form.generation_options.agreement.patience = 100ms;
  form.generation_options.agreement.directory = 300ms;
  deployment world{form};
  BOOST_REQUIRE(world.generation(1).door().request_and_receive_async(
      world.wish(1, 9, 4, std::chrono::milliseconds{200})));
  world.generation(0).door().shutdown();
  std::vector<outcome> ended;
  const auto until = std::chrono::steady_clock::now() + 10s;
  while (ended.empty() && std::chrono::steady_clock::now() < until) {
    const auto began = std::chrono::steady_clock::now();
    ended = world.generation(1).door().check_gen_transfer_status();
    BOOST_TEST((std::chrono::steady_clock::now() - began < 5s));
  }
  BOOST_REQUIRE(ended.size() == 1u);
  BOOST_TEST(!ended[0].agreed);
  BOOST_TEST((ended[0].failure && ended[0].failure->code == errc::timed_out));
}

BOOST_AUTO_TEST_CASE(a_shutdown_waits_for_no_other_rank) {
  deployment world{agreeing(2)};
  const auto began = std::chrono::steady_clock::now();
  world.generation(1).door().shutdown(5s);
  BOOST_TEST((std::chrono::steady_clock::now() - began < 4s));
}

BOOST_AUTO_TEST_SUITE_END()
