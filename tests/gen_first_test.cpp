// The workflows in which the generation side asks before the context side computes.
#include <boost/test/unit_test.hpp>

#include "tests/support/simulation.hpp"

using namespace baton;
using namespace baton::test;
using std::chrono::milliseconds;

namespace {

constexpr request_id first{1};
constexpr milliseconds soon{200};
constexpr milliseconds long_after{60'000};

/// A world in which nothing goes wrong by chance. At its end nothing may be left anywhere.
struct quiet_world {
  explicit quiet_world(simulation::shape size) : world{7, size, {}} {}
  ~quiet_world() {
    for (const auto& complaint : world.settle(milliseconds{3'000}))
      BOOST_ERROR(complaint);
  }

  void run(milliseconds span) { world.clock().run(world.clock().now() + span); }
  void prepare(std::size_t rank, milliseconds timeout = long_after) {
    world.context(rank).prepare(first, {{0, 4}}, timeout);
  }
  void ask(std::size_t rank, milliseconds timeout = long_after) {
    world.generation(rank).receive(first, 4, 0, timeout);
  }
  std::optional<request_state> context_state(std::size_t rank = 0) {
    return world.context(rank).logic().state_of(first);
  }
  error failure(simulated_rank& rank) {
    const auto found = rank.outcomes().find(first);
    BOOST_REQUIRE(found != rank.outcomes().end());
    BOOST_REQUIRE(found->second.failure.has_value());
    return *found->second.failure;
  }
  bool completed(simulated_rank& rank) {
    const auto found = rank.outcomes().find(first);
    return found != rank.outcomes().end() && found->second.completed();
  }

  simulation world;
};

bool says(const error& reason, std::string_view what) {
  return reason.text.find(what) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gen_first)

BOOST_AUTO_TEST_CASE(a_prepared_request_is_ready_when_all_its_receivers_have_asked) {
  quiet_world it{{1, 1, 2}};
  for (const std::size_t rank : {0u, 1u})
    it.prepare(rank);
  it.run(milliseconds{5});
  BOOST_TEST((it.context_state() == request_state::context_wait_scheduler));
  it.ask(1);
  it.run(milliseconds{15});
  BOOST_TEST((it.context_state(0) == request_state::context_wait_scheduler));
  BOOST_TEST((it.context_state(1) == request_state::context_wait_scheduler));
  it.ask(0);
  it.run(milliseconds{5});
  BOOST_TEST((it.context_state(0) == request_state::context_init));
  BOOST_TEST((it.context_state(1) == request_state::context_init));
  it.run(soon);
  for (const std::size_t rank : {0u, 1u}) {
    BOOST_TEST(it.completed(it.world.context(rank)));
    BOOST_TEST(it.completed(it.world.generation(rank)));
  }
}

BOOST_AUTO_TEST_CASE(a_request_that_was_asked_for_before_is_ready_at_once) {
  quiet_world it{{1, 0, 1}};
  it.ask(0);
  it.run(milliseconds{10});
  BOOST_TEST(it.world.context(0).logic().early() == 1u);
  it.prepare(0);
  BOOST_TEST((it.context_state() == request_state::context_init));
  BOOST_TEST(it.world.context(0).logic().early() == 0u);
  it.run(soon);
  BOOST_TEST(it.completed(it.world.generation(0)));
}

BOOST_AUTO_TEST_CASE(a_request_that_nobody_asks_for_ends_at_its_deadline) {
  quiet_world it{{1, 0, 2}};
  it.prepare(0, milliseconds{50});
  it.ask(0);
  it.run(soon);
  const auto reason = it.failure(it.world.context(0));
  BOOST_TEST((reason.code == errc::timed_out));
  BOOST_TEST(says(reason, "only 1 of 2 generation ranks had asked"));
  // It learns that at once, though its own deadline is far away.
  BOOST_TEST((it.failure(it.world.generation(0)).code == errc::timed_out));
}

BOOST_AUTO_TEST_CASE(a_ready_request_that_is_never_offered_ends_at_its_deadline) {
  quiet_world it{{1, 0, 1}};
  it.world.context(0).stop_computing();
  it.ask(0);
  it.prepare(0, milliseconds{50});
  it.run(milliseconds{30});
  BOOST_TEST((it.context_state() == request_state::context_init));
  BOOST_TEST(it.world.context(0).logic().take_ready().empty());
  it.run(soon);
  for (auto* rank : {&it.world.context(0), &it.world.generation(0)}) {
    BOOST_TEST((it.failure(*rank).code == errc::timed_out));
    BOOST_TEST(says(it.failure(*rank), "its first slice had not been offered"));
  }
}

BOOST_AUTO_TEST_CASE(the_deadline_of_a_prepared_request_starts_anew_with_its_first_slice) {
  quiet_world it{{1, 0, 1}};
  it.prepare(0, milliseconds{50});
  it.run(milliseconds{40});
  it.world.context(0).offer(first, {{0, 4}}, milliseconds{100});
  it.run(milliseconds{1});
  BOOST_TEST((it.context_state() == request_state::context_trans_in_progress));
  it.run(milliseconds{80});
  BOOST_TEST((it.context_state() == request_state::context_trans_in_progress));
  it.ask(0);
  it.run(soon);
  BOOST_TEST(it.completed(it.world.context(0)));
}

BOOST_AUTO_TEST_CASE(a_cancel_from_either_side_ends_the_wait) {
  for (const bool by_context : {true, false}) {
    quiet_world it{{2, 0, 2}};
    for (const std::size_t rank : {0u, 1u})
      it.prepare(rank);
    it.ask(0);
    it.run(milliseconds{10});
    (by_context ? it.world.context(0) : it.world.generation(0)).cancel(first);
    it.run(milliseconds{60});
    for (auto* rank : {&it.world.context(0), &it.world.context(1), &it.world.generation(0)})
      BOOST_TEST((it.failure(*rank).code == errc::cancelled));
    // Whoever asks later learns it at once.
    it.ask(1);
    it.run(milliseconds{20});
    BOOST_TEST((it.failure(it.world.generation(1)).code == errc::cancelled));
  }
}

BOOST_AUTO_TEST_CASE(a_request_that_was_cancelled_before_it_was_prepared_ends_at_once) {
  quiet_world it{{1, 0, 1}};
  it.ask(0);
  it.run(milliseconds{10});
  it.world.generation(0).cancel(first);
  it.run(milliseconds{10});
  it.prepare(0);
  it.run(milliseconds{40});
  BOOST_TEST((it.failure(it.world.context(0)).code == errc::cancelled));
}

BOOST_AUTO_TEST_CASE(a_request_whose_receiver_gave_up_before_ends_at_once) {
  for (const bool prepared : {true, false}) {
    quiet_world it{{1, 0, 1}};
    it.ask(0, milliseconds{30});
    it.run(milliseconds{500});
    BOOST_TEST((it.failure(it.world.generation(0)).code == errc::timed_out));
    BOOST_TEST(it.world.context(0).logic().early() == 0u);
    if (prepared)
      it.prepare(0);
    else
      it.world.context(0).offer(first, {{0, 4}}, long_after);
    it.run(milliseconds{60});
    BOOST_TEST((it.failure(it.world.context(0)).code == errc::timed_out));
  }
}

BOOST_AUTO_TEST_CASE(a_lost_receiver_ends_the_wait_asked_or_not) {
  for (const std::size_t victim : {0u, 1u}) {
    quiet_world it{{1, 0, 2}};
    // A request before makes all ranks known to each other.
    it.world.hand_over(request_id{9}, {{0, 2}}, 0, long_after);
    it.run(milliseconds{100});
    it.prepare(0);
    it.ask(0);
    it.run(milliseconds{10});
    it.world.kill(it.world.generation(victim));
    it.run(milliseconds{60});
    BOOST_TEST((it.failure(it.world.context(0)).code == errc::peer_lost));
    if (victim == 1)
      BOOST_TEST((it.failure(it.world.generation(0)).code == errc::peer_lost));
  }
}

BOOST_AUTO_TEST_CASE(a_lost_context_rank_ends_the_wait_of_its_siblings) {
  for (const bool asked_before : {true, false}) {
    quiet_world it{{2, 0, 1}};
    for (const std::size_t rank : {0u, 1u})
      it.prepare(rank);
    if (asked_before)
      it.ask(0);
    it.run(milliseconds{2});
    it.world.kill(it.world.context(1));
    it.run(milliseconds{5});
    if (!asked_before)
      it.ask(0);
    it.run(milliseconds{60});
    BOOST_TEST((it.failure(it.world.context(0)).code == errc::peer_lost));
    BOOST_TEST((it.failure(it.world.generation(0)).code == errc::peer_lost));
  }
}

BOOST_AUTO_TEST_CASE(a_live_id_is_refused_and_goes_on) {
  quiet_world it{{1, 0, 1}};
  auto& logic = it.world.context(0).logic();
  const auto refused_as_duplicate = [&] {
    const auto again = logic.prepare(it.world.clock().now(), {first, long_after});
    return !again && again.error().code == errc::duplicate_request;
  };
  it.prepare(0);
  BOOST_TEST(refused_as_duplicate());
  it.world.context(0).offer(first, {{0, 4}}, long_after);
  it.run(milliseconds{5});
  BOOST_TEST(refused_as_duplicate());
  it.ask(0);
  it.run(soon);
  BOOST_TEST(it.completed(it.world.generation(0)));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_prepared_is_refused_with_the_reason) {
  quiet_world it{{1, 0, 1}};
  auto& logic = it.world.context(0).logic();
  const auto now = it.world.clock().now();
  const auto code = [](const expected<>& answer) { return answer ? errc{} : answer.error().code; };
  BOOST_TEST((code(logic.prepare(now, {first, milliseconds{0}})) == errc::invalid_argument));
  BOOST_TEST((code(logic.prepare(now, {first, milliseconds::max()})) == errc::invalid_argument));
  BOOST_TEST(
      (code(it.world.generation(0).logic().prepare(now, {first, soon})) == errc::invalid_argument));
  logic.refuse_new();
  BOOST_TEST((code(logic.prepare(now, {first, soon})) == errc::shutting_down));
  BOOST_TEST(logic.live() == 0u);
}

BOOST_AUTO_TEST_CASE(shutdown_ends_the_wait_and_takes_the_offer_of_what_was_prepared) {
  quiet_world it{{1, 0, 1}};
  it.prepare(0);
  auto& logic = it.world.context(0).logic();
  logic.refuse_new();
  BOOST_TEST(!logic.prepare(it.world.clock().now(), {request_id{2}, long_after}));
  it.ask(0);
  it.run(milliseconds{5});
  BOOST_TEST((it.context_state() == request_state::context_init));
  logic.cancel_all();
  it.run(milliseconds{60});
  BOOST_TEST((it.failure(it.world.context(0)).code == errc::shutting_down));
  BOOST_TEST((it.failure(it.world.generation(0)).code == errc::shutting_down));
}

BOOST_AUTO_TEST_CASE(an_offer_that_crosses_the_end_is_refused_once) {
  quiet_world it{{1, 0, 1}};
  it.prepare(0);
  it.world.context(0).cancel(first);
  it.run(milliseconds{60});
  BOOST_TEST((it.failure(it.world.context(0)).code == errc::cancelled));
  auto& logic = it.world.context(0).logic();
  const send_slice slice{first, {0, 4}, true, {{"full", 0, {1, 2, 3, 4}}}, {}, long_after};
  const auto crossing = logic.offer(it.world.clock().now(), slice);
  BOOST_REQUIRE(!crossing);
  BOOST_TEST((crossing.error().code == errc::cancelled));
  auto rest = slice;
  rest.tokens = {4, 8};
  rest.blocks[0].first_block_token = 4;
  BOOST_TEST(!logic.offer(it.world.clock().now(), rest));
  BOOST_TEST(logic.live() == 0u);
}

BOOST_AUTO_TEST_CASE(preparing_it_again_makes_an_earlier_end_void) {
  simulation world{7, {1, 0, 1}, {}};
  auto& rank = world.context(0);
  rank.prepare(first, {{0, 4}}, long_after);
  rank.cancel(first);
  world.clock().run(world.clock().now() + milliseconds{5});
  BOOST_REQUIRE((rank.logic().state_of(first) == request_state::trans_error));
  BOOST_REQUIRE(rank.logic().prepare(world.clock().now(), {first, long_after}));
  const send_slice slice{first, {0, 4}, true, {{"full", 0, {1, 2, 3, 4}}}, {}, long_after};
  BOOST_TEST(rank.logic().offer(world.clock().now(), slice).has_value());
}

BOOST_AUTO_TEST_CASE(a_status_call_does_not_wait_for_what_was_not_offered) {
  quiet_world it{{1, 0, 1}};
  it.prepare(0);
  auto& logic = it.world.context(0).logic();
  logic.await_ended(it.world.clock().now(), instance_role::context, std::nullopt, 1);
  BOOST_TEST(logic.waiting_callers() == 0u);
  it.world.context(0).offer(first, {{0, 4}}, long_after);
  it.run(milliseconds{1});
  logic.await_ended(it.world.clock().now(), instance_role::context, std::nullopt, 2);
  BOOST_TEST(logic.waiting_callers() == 1u);
  it.ask(0);
  it.run(soon);
  BOOST_TEST(logic.waiting_callers() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
