#include <cstdlib>

#include <boost/test/unit_test.hpp>

#include "tests/support/settled.hpp"

using namespace baton;
using namespace baton::test;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds deadline{200};

request_state state_on(simulated_rank& rank, request_id id) {
  const auto found = rank.outcomes().find(id);
  BOOST_REQUIRE(found != rank.outcomes().end());
  return found->second.state;
}

errc failure_on(simulated_rank& rank, request_id id) {
  const auto& outcome = rank.outcomes().at(id);
  BOOST_REQUIRE(outcome.failure.has_value());
  return outcome.failure->code;
}

constexpr request_id first{1};

workflow random_flow(fake_world& dice) {
  return static_cast<workflow>(dice.pick(0, 2));
}

/// Beams in some requests, tails anywhere, and leading blocks that nobody wants any more.
request_form random_form(fake_world& dice, std::uint32_t tokens, std::uint32_t cached) {
  request_form form;
  form.flow = random_flow(dice);
  if (dice.chance(0.3))
    form.released = static_cast<std::uint32_t>(dice.pick(0, cached));
  if (!dice.chance(0.3))
    return form;
  const auto tail = [&](std::uint32_t first) {
    return static_cast<std::uint32_t>(dice.pick(first, tokens + 1));
  };
  for (auto n = dice.pick(1, 3); n > 0; --n) {
    form.context_tails.push_back(tail(form.released));
    form.generation_tails.push_back(tail(0));
  }
  return form;
}

/// Cuts a request by tokens, and each chunk of tokens by layers or the other way round. The pieces
/// that begin layer 0 come first; the others in any order that keeps the tokens of a layer in
/// order.
std::vector<simulated_slice> random_slices(fake_world& dice, std::uint32_t layers) {
  std::vector<token_range> chunks;
  for (auto n = dice.pick(1, 3); n > 0; --n) {
    const auto begin = chunks.empty() ? 0 : chunks.back().end;
    chunks.push_back({begin, begin + static_cast<std::uint32_t>(dice.pick(1, 4))});
  }
  std::vector<layer_range> bands{{}};
  while (bands.back().begin + 1 < layers && dice.chance(0.6)) {
    const auto cut = static_cast<std::uint32_t>(dice.pick(bands.back().begin + 1, layers - 1));
    bands.back().end = cut;
    bands.push_back({cut, layer_range::no_end});
  }
  const double release = dice.chance(0.3) ? 0.7 : 0;
  std::vector<simulated_slice> slices;
  std::vector<std::size_t> done(bands.size());
  while (slices.size() < chunks.size() * bands.size()) {
    const auto band = slices.empty() ? 0 : dice.pick(0, bands.size() - 1);
    if (done[band] < chunks.size())
      slices.push_back({chunks[done[band]++], bands[band], dice.chance(release)});
  }
  return slices;
}

} // namespace

BOOST_AUTO_TEST_SUITE(protocol)

BOOST_AUTO_TEST_CASE(a_request_in_three_slices_completes_on_every_rank) {
  simulation world{1, {2, 1, 2}, {}};
  world.hand_over(first, {{0, 3}, {3, 5}, {5, 9}}, 0, deadline);
  require_clean(world);
  for (std::size_t rank = 0; rank < 3; ++rank)
    BOOST_TEST((state_on(world.context(rank), first) == request_state::context_complete));
  for (std::size_t rank = 0; rank < 2; ++rank) {
    BOOST_TEST(
        (state_on(world.generation(rank), first) == request_state::generation_trans_complete));
    BOOST_TEST(world.generation(rank).outcomes().at(first).attempts == 1u);
    BOOST_TEST(world.generation(rank).outcomes().at(first).sources.size() == 2u);
  }
}

BOOST_AUTO_TEST_CASE(a_fully_cached_request_completes_without_a_byte) {
  simulation world{2, {1, 0, 1}, {}};
  world.hand_over(first, {{0, 4}}, 4, deadline);
  require_clean(world);
  BOOST_TEST((state_on(world.generation(0), first) == request_state::generation_trans_complete));
  BOOST_TEST(world.generation(0).outcomes().at(first).bytes == 0u);
  BOOST_TEST((state_on(world.context(0), first) == request_state::context_complete));
}

BOOST_AUTO_TEST_CASE(a_question_before_the_offer_waits_for_it) {
  simulation world{3, {2, 0, 1}, {}};
  world.generation(0).receive(first, 4, 0, deadline);
  world.clock().run(world.clock().now() + milliseconds{50});
  BOOST_TEST(world.context(0).logic().early() == 1u);
  world.context(0).offer(first, {{0, 4}}, deadline);
  world.context(1).offer(first, {{0, 4}}, deadline);
  require_clean(world);
  BOOST_TEST((state_on(world.generation(0), first) == request_state::generation_trans_complete));
}

BOOST_AUTO_TEST_CASE(a_request_that_nobody_offers_ends_at_the_deadline) {
  simulation world{4, {2, 0, 1}, {}};
  world.generation(0).receive(first, 4, 0, deadline);
  require_clean(world);
  BOOST_TEST((failure_on(world.generation(0), first) == errc::timed_out));
}

BOOST_AUTO_TEST_CASE(
    an_offer_that_nobody_asks_for_ends_at_the_deadline_and_later_questions_learn_it) {
  simulation world{5, {1, 0, 1}, {}};
  world.context(0).offer(first, {{0, 4}}, milliseconds{40});
  world.clock().run(world.clock().now() + milliseconds{100});
  BOOST_TEST((failure_on(world.context(0), first) == errc::timed_out));
  const auto asked = world.clock().now();
  world.generation(0).receive(first, 4, 0, milliseconds{60'000});
  require_clean(world);
  BOOST_TEST((failure_on(world.generation(0), first) == errc::timed_out));
  BOOST_TEST((world.generation(0).outcomes().at(first).total < milliseconds{100}));
  BOOST_TEST((world.clock().now() - asked < milliseconds{1'000}));
}

BOOST_AUTO_TEST_CASE(a_cancel_by_one_receiver_ends_the_request_everywhere) {
  simulation world{6, {2, 0, 2}, {}};
  world.hand_over(first, {{0, 2}, {2, 40}}, 0, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{8});
  world.generation(1).cancel(first);
  require_clean(world);
  BOOST_TEST((failure_on(world.generation(1), first) == errc::cancelled));
  BOOST_TEST((failure_on(world.context(0), first) == errc::cancelled));
  BOOST_TEST((failure_on(world.context(1), first) == errc::cancelled));
  BOOST_TEST((failure_on(world.generation(0), first) == errc::cancelled));
}

BOOST_AUTO_TEST_CASE(a_cancel_by_the_context_side_ends_the_request_everywhere) {
  simulation world{7, {1, 0, 2}, {}};
  world.hand_over(first, {{0, 40}}, 0, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{8});
  world.context(0).cancel(first);
  require_clean(world);
  for (std::size_t rank = 0; rank < 2; ++rank)
    BOOST_TEST((failure_on(world.generation(rank), first) == errc::cancelled));
}

BOOST_AUTO_TEST_CASE(both_sides_may_cancel_at_once) {
  simulation world{8, {2, 0, 2}, {}};
  world.hand_over(first, {{0, 40}}, 0, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{8});
  world.context(0).cancel(first);
  world.generation(0).cancel(first);
  world.context(1).cancel(first);
  require_clean(world);
  BOOST_TEST((failure_on(world.context(0), first) == errc::cancelled));
  BOOST_TEST((failure_on(world.generation(0), first) == errc::cancelled));
}

BOOST_AUTO_TEST_CASE(a_stale_cancel_does_not_hit_a_later_use_of_the_id) {
  simulation world{9, {1, 0, 1}, {}};
  world.context(0).offer(first, {{0, 2}}, deadline);
  world.context(0).logic().received(world.clock().now(), world.generation(0).life(),
                                    cancel_notice{first, pull_id{77}, {errc::cancelled, "stale"}});
  world.generation(0).receive(first, 2, 0, deadline);
  require_clean(world);
  BOOST_TEST((state_on(world.context(0), first) == request_state::context_complete));
}

BOOST_AUTO_TEST_CASE(a_live_id_is_refused_and_the_live_request_goes_on) {
  simulation world{10, {1, 0, 1}, {}};
  world.hand_over(first, {{0, 6}}, 0, deadline);
  world.clock().run(world.clock().now() + milliseconds{4});
  receive_request again{first, {"context", 0}, 6, 0, {{"full", 0, {1, 2, 3, 4, 5, 6}}}, deadline};
  const auto refused = world.generation(0).logic().receive(world.clock().now(), again, 1);
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().code == errc::duplicate_request));
  require_clean(world);
  BOOST_TEST((state_on(world.generation(0), first) == request_state::generation_trans_complete));
}

BOOST_AUTO_TEST_CASE(a_source_that_dies_before_its_grant_fails_the_request_at_once) {
  simulation world{11, {2, 0, 1}, {}};
  world.generation(0).receive(first, 4, 0, milliseconds{60'000});
  world.context(0).offer(first, {{0, 4}}, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{20});
  world.kill(world.context(1));
  require_clean(world);
  BOOST_TEST((failure_on(world.generation(0), first) == errc::peer_lost));
  // The surviving source was read to the end before: the two sides may end differently.
  BOOST_TEST((state_on(world.context(0), first) == request_state::context_complete));
}

BOOST_AUTO_TEST_CASE(a_source_that_dies_while_its_memory_is_read_still_delivers) {
  simulation world{12, {1, 0, 1}, {}};
  world.hand_over(first, {{0, 60}}, 0, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{20});
  BOOST_REQUIRE(world.generation(0).plane().jobs() == 1u);
  world.kill(world.context(0));
  require_clean(world);
  BOOST_TEST((state_on(world.generation(0), first) == request_state::generation_trans_complete));
}

BOOST_AUTO_TEST_CASE(a_receiver_that_dies_frees_the_senders) {
  simulation world{13, {2, 0, 2}, {}};
  world.hand_over(first, {{0, 60}}, 0, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{20});
  world.kill(world.generation(1));
  require_clean(world);
  BOOST_TEST((failure_on(world.context(0), first) == errc::peer_lost));
  BOOST_TEST((failure_on(world.context(1), first) == errc::peer_lost));
}

BOOST_AUTO_TEST_CASE(a_broken_link_is_tried_again_and_only_what_is_missing_is_asked_for) {
  simulation world{14, {1, 0, 1}, {}};
  world.generation(0).receive(first, 6, 0, milliseconds{60'000});
  world.context(0).offer(first, {{0, 2}, {2, 4}, {4, 6}}, milliseconds{60'000}, milliseconds{40});
  world.clock().run(world.clock().now() + milliseconds{60});
  world.break_link(world.context(0), world.generation(0));
  require_clean(world);
  const auto& outcome = world.generation(0).outcomes().at(first);
  BOOST_TEST(outcome.completed());
  BOOST_TEST(outcome.attempts == 2u);
  BOOST_TEST(outcome.bytes == 6u);
}

BOOST_AUTO_TEST_CASE(crashing_sessions_use_up_their_restart_budget) {
  chaos faults;
  faults.crash = 1;
  simulation world{15, {1, 0, 1}, faults};
  world.hand_over(first, {{0, 4}}, 0, milliseconds{60'000});
  require_clean(world, milliseconds{70'000});
  const auto& outcome = world.generation(0).outcomes().at(first);
  BOOST_TEST((outcome.state == request_state::trans_error));
  BOOST_TEST(outcome.attempts <= 4u);
}

BOOST_AUTO_TEST_CASE(shutdown_ends_what_waits) {
  simulation world{16, {1, 0, 1}, {}};
  world.generation(0).receive(first, 4, 0, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{20});
  world.generation(0).logic().refuse_new();
  world.generation(0).logic().cancel_all();
  require_clean(world);
  BOOST_TEST((failure_on(world.generation(0), first) == errc::shutting_down));
}

BOOST_AUTO_TEST_CASE(a_slice_is_granted_only_after_its_event) {
  simulation world{17, {1, 0, 2}, {}};
  world.context(0).hold_work();
  world.hand_over(first, {{0, 4}}, 0, deadline);
  world.clock().run(world.clock().now() + milliseconds{100});
  BOOST_TEST(world.context(0).plane().granted() == 0u);
  BOOST_TEST(world.generation(0).plane().jobs() + world.generation(1).plane().jobs() == 0u);
  world.context(0).finish_work(first);
  require_clean(world);
  BOOST_TEST((state_on(world.context(0), first) == request_state::context_complete));
  for (std::size_t rank = 0; rank < 2; ++rank)
    BOOST_TEST(
        (state_on(world.generation(rank), first) == request_state::generation_trans_complete));
}

BOOST_AUTO_TEST_CASE(slices_are_granted_in_the_order_of_their_events) {
  simulation world{18, {1, 0, 1}, {}};
  world.context(0).hold_work();
  world.hand_over(first, {{0, 2}, {2, 5}, {5, 9}}, 0, deadline);
  for (const std::uint32_t slice : {2u, 0u, 1u}) {
    world.clock().run(world.clock().now() + milliseconds{40});
    BOOST_TEST(world.context(0).plane().granted() == 0u);
    BOOST_TEST(world.generation(0).outcomes().empty());
    world.context(0).finish_work(first, slice);
  }
  require_clean(world);
  BOOST_TEST((state_on(world.generation(0), first) == request_state::generation_trans_complete));
  BOOST_TEST(world.generation(0).outcomes().at(first).bytes == 9u);
}

BOOST_AUTO_TEST_CASE(nothing_is_written_before_the_event_of_the_destination) {
  simulation world{19, {2, 0, 1}, {}};
  world.generation(0).hold_work();
  world.hand_over(first, {{0, 2}, {2, 4}}, 0, deadline);
  world.clock().run(world.clock().now() + milliseconds{100});
  BOOST_TEST(world.generation(0).plane().jobs() == 4u);
  world.generation(0).finish_work(first);
  require_clean(world);
  BOOST_TEST((state_on(world.generation(0), first) == request_state::generation_trans_complete));
}

BOOST_AUTO_TEST_CASE(a_request_whose_event_never_comes_ends_at_the_deadline) {
  for (const bool on_context : {true, false}) {
    simulation world{20, {1, 0, 1}, {}};
    auto& holder = on_context ? world.context(0) : world.generation(0);
    holder.hold_work();
    world.context(0).offer(first, {{0, 4}}, on_context ? deadline : milliseconds{60'000});
    world.generation(0).receive(first, 4, 0, on_context ? milliseconds{60'000} : deadline);
    require_clean(world);
    BOOST_TEST((failure_on(holder, first) == errc::timed_out));
    BOOST_TEST((holder.outcomes().at(first).failure->text.find("GPU event") != std::string::npos));
    BOOST_TEST((failure_on(world.generation(0), first) == errc::timed_out));
  }
}

BOOST_AUTO_TEST_CASE(a_cancel_ends_the_wait_for_an_event) {
  for (const bool held_by_context : {true, false})
    for (const bool cancelled_by_context : {true, false}) {
      simulation world{21, {1, 0, 1}, {}};
      (held_by_context ? world.context(0) : world.generation(0)).hold_work();
      world.hand_over(first, {{0, 4}}, 0, milliseconds{60'000});
      world.clock().run(world.clock().now() + milliseconds{20});
      (cancelled_by_context ? world.context(0) : world.generation(0)).cancel(first);
      require_clean(world, milliseconds{200});
      BOOST_TEST((failure_on(world.context(0), first) == errc::cancelled));
      BOOST_TEST((failure_on(world.generation(0), first) == errc::cancelled));
    }
}

BOOST_AUTO_TEST_CASE(failed_gpu_work_ends_the_request_everywhere_at_once) {
  for (const bool on_context : {true, false}) {
    simulation world{22, {1, 0, 2}, {}};
    auto& holder = on_context ? world.context(0) : world.generation(0);
    holder.hold_work();
    world.hand_over(first, {{0, 4}}, 0, milliseconds{60'000});
    world.clock().run(world.clock().now() + milliseconds{20});
    holder.finish_work(first, 0, true);
    require_clean(world, milliseconds{200});
    BOOST_TEST((failure_on(holder, first) == errc::gpu_failed));
    BOOST_TEST(holder.outcomes().at(first).attempts == 1u);
    BOOST_TEST((failure_on(world.context(0), first) == errc::gpu_failed));
    BOOST_TEST((failure_on(world.generation(0), first) == errc::gpu_failed));
  }
}

BOOST_AUTO_TEST_CASE(an_event_counts_also_where_nobody_pulls) {
  simulation world{23, {1, 1, 1}, {}};
  auto& idle = world.context(1);
  idle.hold_work();
  world.hand_over(first, {{0, 4}}, 0, deadline);
  world.clock().run(world.clock().now() + milliseconds{100});
  BOOST_TEST(idle.outcomes().empty());
  idle.finish_work(first);
  require_clean(world);
  BOOST_TEST((state_on(idle, first) == request_state::context_complete));
}

BOOST_AUTO_TEST_CASE(shutdown_ends_the_wait_for_an_event) {
  simulation world{24, {1, 0, 1}, {}};
  world.context(0).hold_work();
  world.generation(0).hold_work();
  world.hand_over(first, {{0, 4}}, 0, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{20});
  BOOST_TEST(world.context(0).plane().waits() == 1u);
  world.context(0).logic().refuse_new();
  world.context(0).logic().cancel_all();
  require_clean(world, milliseconds{200});
  BOOST_TEST((failure_on(world.context(0), first) == errc::shutting_down));
}

BOOST_AUTO_TEST_CASE(an_event_is_waited_for_again_after_a_crash) {
  chaos faults;
  faults.crash = 0.5;
  simulation world{25, {1, 0, 1}, faults};
  world.context(0).hold_work();
  world.hand_over(first, {{0, 4}}, 0, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{60});
  BOOST_TEST(world.context(0).plane().granted() == 0u);
  world.context(0).finish_work(first);
  // Whether it completes is a matter of luck; that it reads nothing early and leaves nothing, not.
  require_clean(world, milliseconds{70'000});
}

BOOST_AUTO_TEST_CASE(a_cancel_that_overtakes_its_pull_request_still_counts) {
  simulation world{30, {1, 0, 1}, {}};
  auto& source = world.context(0);
  const auto receiver = incarnation{5};
  source.offer(first, {{0, 4}}, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{1});
  source.logic().received(world.clock().now(), receiver,
                          cancel_notice{first, pull_id{7}, {errc::cancelled, "by the engine"}});
  BOOST_TEST(source.outcomes().empty());
  pull_request late{
      .request = first, .pull = pull_id{7}, .receivers = 1, .wants = {{"full", {0, 4}}}};
  late.remaining = milliseconds{60'000};
  source.logic().received(world.clock().now(), receiver, late);
  require_clean(world, milliseconds{200});
  BOOST_TEST((failure_on(source, first) == errc::cancelled));
}

BOOST_AUTO_TEST_CASE(a_pull_that_was_taken_back_before_the_offer_ends_the_offer_at_once) {
  for (const bool overtaken : {false, true}) {
    simulation world{31, {1, 0, 1}, {}};
    auto& source = world.context(0);
    const auto receiver = incarnation{5};
    const cancel_notice notice{first, pull_id{7}, {errc::cancelled, "by the engine"}};
    pull_request call{
        .request = first, .pull = pull_id{7}, .receivers = 1, .wants = {{"full", {0, 4}}}};
    call.remaining = milliseconds{60'000};
    const auto arrives = [&](const wire_message& message) {
      source.logic().received(world.clock().now(), receiver, message);
    };
    overtaken ? arrives(notice) : arrives(call);
    overtaken ? arrives(call) : arrives(notice);
    BOOST_TEST(source.logic().early() == 0u);
    source.offer(first, {{0, 2}, {2, 4}}, milliseconds{60'000});
    require_clean(world, milliseconds{200});
    BOOST_TEST((failure_on(source, first) == errc::cancelled));
  }
}

BOOST_AUTO_TEST_CASE(a_receiver_that_asks_again_makes_its_withdrawal_void) {
  simulation world{32, {1, 0, 1}, {}};
  world.generation(0).receive(first, 4, 0, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{20});
  world.context(0).logic().received(world.clock().now(), world.generation(0).life(),
                                    cancel_notice{first, {}, {errc::cancelled, "earlier"}, true});
  world.generation(0).logic().link_lost(world.clock().now(), {world.context(0).life(), false});
  world.clock().run(world.clock().now() + milliseconds{100});
  world.context(0).offer(first, {{0, 4}}, milliseconds{60'000});
  require_clean(world, milliseconds{300});
  BOOST_TEST((state_on(world.context(0), first) == request_state::context_complete));
}

BOOST_AUTO_TEST_CASE(a_receive_that_fails_before_it_asks_tells_the_sources_it_knows) {
  chaos faults;
  faults.longest_introduction = std::chrono::milliseconds{30};
  for (std::uint64_t seed = 40; seed < 60; ++seed) {
    simulation world{seed, {3, 1, 2}, faults};
    world.hand_over(first, {{0, 4}}, 0, milliseconds{60'000});
    world.clock().after(milliseconds{1}, [&] { world.kill(world.context(1)); });
    require_clean(world, milliseconds{300});
    for (const std::size_t rank : {0u, 2u, 3u})
      BOOST_TEST((failure_on(world.context(rank), first) == errc::peer_lost));
    for (std::size_t rank = 0; rank < 2; ++rank)
      BOOST_TEST((failure_on(world.generation(rank), first) == errc::peer_lost));
  }
}

BOOST_AUTO_TEST_CASE(a_cancel_before_the_route_is_known_reaches_every_source) {
  chaos faults;
  faults.longest_introduction = std::chrono::milliseconds{30};
  for (std::uint64_t seed = 60; seed < 80; ++seed) {
    simulation world{seed, {2, 1, 1}, faults};
    world.hand_over(first, {{0, 40}}, 0, milliseconds{60'000});
    world.clock().after(milliseconds{4}, [&] { world.generation(0).cancel(first); });
    require_clean(world, milliseconds{300});
    for (std::size_t rank = 0; rank < 3; ++rank)
      BOOST_TEST((failure_on(world.context(rank), first) == errc::cancelled));
  }
}

BOOST_AUTO_TEST_CASE(a_receiver_that_dies_before_it_asks_ends_what_its_siblings_asked_for) {
  simulation world{33, {2, 0, 2}, {}};
  // A request before makes all ranks known to each other.
  world.hand_over(first, {{0, 2}}, 0, milliseconds{60'000});
  require_clean(world);
  constexpr request_id second{2};
  for (const std::size_t rank : {0u, 1u})
    world.context(rank).offer(second, {{0, 2}}, milliseconds{60'000});
  world.generation(1).receive(second, 2, 0, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{100});
  world.kill(world.generation(0));
  require_clean(world, milliseconds{200});
  for (const std::size_t rank : {0u, 1u})
    BOOST_TEST((failure_on(world.context(rank), second) == errc::peer_lost));
  BOOST_TEST((state_on(world.generation(1), second) == request_state::generation_trans_complete));
}

BOOST_AUTO_TEST_CASE(a_sibling_that_asks_after_the_death_ends_the_request_too) {
  simulation world{34, {1, 0, 2}, {}};
  world.hand_over(first, {{0, 2}}, 0, milliseconds{60'000});
  require_clean(world);
  constexpr request_id second{2};
  world.context(0).offer(second, {{0, 2}}, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{10});
  world.kill(world.generation(0));
  world.clock().run(world.clock().now() + milliseconds{5'000});
  world.generation(1).receive(second, 2, 0, milliseconds{60'000});
  require_clean(world, milliseconds{200});
  BOOST_TEST((failure_on(world.context(0), second) == errc::peer_lost));
}

BOOST_AUTO_TEST_CASE(a_source_that_dies_on_the_ucx_lane_ends_the_request_at_once) {
  chaos faults;
  faults.kind = lane_kind::ucx;
  simulation world{35, {2, 0, 1}, faults};
  world.hand_over(first, {{0, 60}}, 0, milliseconds{60'000});
  world.clock().run(world.clock().now() + milliseconds{20});
  BOOST_REQUIRE(world.generation(0).plane().jobs() == 2u);
  world.kill(world.context(1));
  require_clean(world, milliseconds{100});
  BOOST_TEST((failure_on(world.generation(0), first) == errc::peer_lost));
  BOOST_TEST((failure_on(world.context(0), first) == errc::peer_lost));
}

BOOST_AUTO_TEST_CASE(what_was_read_of_another_offer_is_offered_again) {
  simulation world{36, {1, 0, 1}, {}};
  auto& source = world.context(0);
  source.offer(first, {{0, 2}, {2, 4}}, deadline);
  world.clock().run(world.clock().now() + milliseconds{10});
  pull_request call{.request = first,
                    .pull = pull_id{7},
                    .receivers = 1,
                    .wants = {{"full", {0, 4}}},
                    .have = {0, 1},
                    .have_offer = offer_id{1}};
  call.remaining = deadline;
  source.logic().received(world.clock().now(), world.generation(0).life(), call);
  world.clock().run(world.clock().now() + milliseconds{1});
  BOOST_TEST(source.plane().granted() == 2u);
  require_clean(world);
}

BOOST_AUTO_TEST_CASE(a_slice_more_than_the_limit_is_refused) {
  simulation world{37, {1, 0, 1}, {}};
  auto& logic = world.context(0).logic();
  for (std::uint32_t i = 0; i <= wire_limits::slices; ++i) {
    send_slice slice;
    slice.request = first;
    slice.tokens = {i, i + 1};
    slice.last = false;
    slice.blocks = {{"full", i, {0}}};
    const auto ok = logic.offer(world.clock().now(), slice);
    BOOST_REQUIRE(ok.has_value() == (i < wire_limits::slices));
    if (!ok)
      BOOST_TEST((ok.error().code == errc::invalid_argument));
  }
}

BOOST_AUTO_TEST_CASE(outcomes_that_nobody_fetches_are_bounded_and_counted) {
  transceiver_options options;
  options.tombstones = 2;
  options.live_requests = 3;
  simulation world{38, {1, 0, 1}, {}, options};
  auto& logic = world.generation(0).logic();
  for (std::uint64_t id = 1; id <= 5; ++id) {
    const receive_request wish{request_id{id}, {"context", 0}, 1, 0, {{"full", 0, {7}}}, deadline};
    BOOST_REQUIRE(logic.receive(world.clock().now(), wish, std::nullopt));
    logic.cancel(request_id{id}, 0);
    world.clock().run(world.clock().now() + milliseconds{20});
  }
  BOOST_TEST(logic.live() == 0u);
  BOOST_TEST(logic.lost_outcomes() == 2u);
}

BOOST_AUTO_TEST_CASE(the_text_of_a_deadline_says_what_was_waited_for) {
  const auto text_of = [](simulated_rank& rank) { return rank.outcomes().at(first).failure->text; };
  const auto says = [](const std::string& text, std::string_view what) {
    return text.find(what) != std::string::npos;
  };
  {
    simulation world{39, {1, 0, 2}, {}};
    world.context(0).offer(first, {{0, 4}}, deadline);
    world.generation(0).receive(first, 4, 0, milliseconds{60'000});
    require_clean(world);
    BOOST_TEST(says(text_of(world.context(0)), "only 1 of 2 generation ranks had asked"));
    BOOST_TEST((state_on(world.generation(0), first) == request_state::generation_trans_complete));
  }
  {
    simulation world{39, {1, 0, 1}, {}};
    world.context(0).offer(first, {{0, 4}, {4, 8}}, deadline, milliseconds{500});
    world.generation(0).receive(first, 8, 0, milliseconds{60'000});
    world.clock().run(world.clock().now() + milliseconds{300});
    BOOST_TEST(says(text_of(world.context(0)), "its slices ended at token 4"));
    // The reason reaches the other side with its origin, once.
    BOOST_TEST(says(text_of(world.generation(0)), "context rank 0: request 1: after 200 ms"));
  }
  {
    chaos faults;
    faults.longest_introduction = std::chrono::seconds{100};
    simulation world{39, {1, 0, 1}, faults};
    world.generation(0).receive(first, 8, 0, deadline);
    world.clock().run(world.clock().now() + milliseconds{300});
    BOOST_TEST(says(text_of(world.generation(0)), "after 200 ms its route was not known"));
  }
}

layer_list only_layer(std::uint32_t layer) {
  return std::make_shared<const std::vector<std::uint32_t>>(1, layer);
}

/// Records what a receive session does.
struct receive_recorder : receive_backend {
  void send(incarnation, wire_message) override {}
  void pull(std::uint32_t, std::uint32_t slice, pull_job) override { pulled.push_back(slice); }
  void report(session_report report) override { reports.push_back(std::move(report)); }
  void passed(probe_point) override {}

  std::vector<std::uint32_t> pulled;
  std::vector<session_report> reports;
};

BOOST_AUTO_TEST_CASE(what_was_read_of_another_offer_is_read_again) {
  receive_recorder seen;
  const incarnation peer{3};
  receive_spec spec;
  spec.request.request = first;
  spec.wants = {{"full", {0, 4}}};
  spec.pull = pull_id{7};
  spec.route.sources = {{peer, 0, 1, {"full"}, false, {lane_kind::mapped, ""}, {only_layer(0)}}};
  spec.progress[0].offer = offer_id{1};
  spec.progress[0].slices[0] = {{"full", {0, 2}}};
  receive_protocol session{std::move(spec), seen};
  session.start({});
  slice_grant grant;
  grant.request = first;
  grant.pull = pull_id{7};
  grant.offer = offer_id{2};
  grant.last = true;
  grant.ranges = {{"full", {0, 4}}};
  grant.right.owner = peer;
  session.handle(peer_message{peer, grant});
  BOOST_TEST(seen.pulled == std::vector<std::uint32_t>{0});
  session.pulled(0, 0, pull_stats{});
  const auto* end = std::get_if<session_end>(&seen.reports.back());
  BOOST_REQUIRE(end != nullptr);
  BOOST_TEST(!end->failure);
}

/// One thing goes wrong, nothing is lost, and the deadline is far away: all must be over soon, and
/// each rank must have ended as complete or for that very reason.
BOOST_AUTO_TEST_CASE(whatever_goes_wrong_alone_is_over_soon_on_every_rank) {
  const auto* one = std::getenv("BATON_SEED");
  const std::uint64_t start = one ? std::strtoull(one, nullptr, 10) : 1;
  const std::uint64_t count = one ? 1 : 5'000;
  std::size_t hit = 0;
  for (auto seed = start; seed < start + count; ++seed) {
    fake_world dice{seed * 104'729};
    chaos faults;
    faults.in_order = dice.chance(0.5);
    faults.kind = dice.chance(0.5) ? lane_kind::mapped : lane_kind::ucx;
    faults.longest_introduction = std::chrono::milliseconds{dice.chance(0.5) ? 20 : 0};
    faults.longest_news = std::chrono::milliseconds{dice.chance(0.5) ? 20 : 1};
    const simulation::shape size{static_cast<std::uint32_t>(dice.pick(1, 3)),
                                 static_cast<std::uint32_t>(dice.pick(0, 1)),
                                 static_cast<std::uint32_t>(dice.pick(1, 3))};
    // A receipt that overtakes the question of whoever reads by ticket says nothing.
    faults.tickets = faults.in_order ? 0.5 : 0;
    simulation world{seed, size, faults};
    const auto tokens = static_cast<std::uint32_t>(dice.pick(2, 20));
    request_form form;
    form.flow = random_flow(dice);
    world.hand_over(first, {{0, tokens / 2}, {tokens / 2, tokens}}, 0, milliseconds{60'000}, form);
    const bool on_context = dice.chance(0.5);
    const bool death = dice.chance(0.5);
    auto& rank = on_context ? world.context(dice.pick(0, size.context + size.idle - 1))
                            : world.generation(dice.pick(0, size.generation - 1));
    // A receiver that dies before it has introduced itself is known to nobody.
    const auto earliest = death && !on_context ? milliseconds{50} : milliseconds{0};
    world.clock().after(earliest + dice.delay(milliseconds{40}),
                        [&] { death ? world.kill(rank) : rank.cancel(first); });
    const auto complaints = world.settle(milliseconds{500});
    BOOST_REQUIRE_MESSAGE(complaints.empty(), "BATON_SEED=" << seed << "\n" << joined(complaints));
    const auto look = [&](simulated_rank& at) {
      if (at.dead())
        return;
      const auto& result = at.outcomes().at(first);
      const auto wanted = death ? errc::peer_lost : errc::cancelled;
      hit += !result.completed();
      BOOST_REQUIRE_MESSAGE(result.completed() || result.failure->code == wanted,
                            "BATON_SEED=" << seed << " "
                                          << to_string(result.failure.value_or(error{})));
    };
    for (std::size_t i = 0; i < size.context + size.idle; ++i)
      look(world.context(i));
    for (std::size_t i = 0; i < size.generation; ++i)
      look(world.generation(i));
  }
  if (!one)
    BOOST_TEST(hit > count);
}

/// Everything goes wrong at once, many times over. BATON_SEED runs one seed, BATON_SEEDS that many.
BOOST_AUTO_TEST_CASE(whatever_goes_wrong_each_request_ends_once_and_nothing_is_left) {
  const auto* one = std::getenv("BATON_SEED");
  const auto* many = std::getenv("BATON_SEEDS");
  const std::uint64_t start = one ? std::strtoull(one, nullptr, 10) : 1;
  const std::uint64_t count = one ? 1 : many ? std::strtoull(many, nullptr, 10) : 10'000;
  std::size_t completed = 0;
  std::size_t failed = 0;
  std::size_t tickets[3] = {};
  for (auto seed = start; seed < start + count; ++seed) {
    fake_world dice{seed * 7919};
    chaos faults;
    const auto some = [&](double most) { return dice.chance(0.5) ? most * dice.chance(0.5) : 0; };
    faults.loss = some(0.05);
    faults.repeat = some(0.1);
    faults.crash = some(0.03);
    faults.route_failure = some(0.2);
    faults.events = some(0.5);
    faults.event_failure = some(0.05);
    faults.lane.pull_failure = some(0.02);
    faults.lane.grant_failure = some(0.02);
    const simulation::shape size{static_cast<std::uint32_t>(dice.pick(1, 3)),
                                 static_cast<std::uint32_t>(dice.pick(0, 1)),
                                 static_cast<std::uint32_t>(dice.pick(1, 3))};
    faults.state = dice.chance(0.3);
    faults.tickets = some(1);
    faults.longest_way = milliseconds{dice.chance(0.3) ? 100 : 2};
    faults.layers = static_cast<std::uint32_t>(dice.chance(0.3) ? dice.pick(2, 4) : 1);
    simulation world{seed, size, faults};
    const auto requests = dice.pick(1, 4);
    for (std::uint64_t id = 1; id <= requests; ++id) {
      const auto slices = random_slices(dice, faults.layers + (faults.state ? 1 : 0));
      const auto at = slices.back().tokens.end;
      const auto cached = static_cast<std::uint32_t>(dice.chance(0.3) ? dice.pick(0, at) : 0);
      world.hand_over(request_id{id}, slices, cached, milliseconds{dice.pick(5, 150)},
                      random_form(dice, at, cached));
    }
    const auto pick_rank = [&]() -> simulated_rank& {
      return dice.chance(0.5) ? world.context(dice.pick(0, size.context - 1))
                              : world.generation(dice.pick(0, size.generation - 1));
    };
    for (auto n = dice.pick(0, 3); n > 0; --n) {
      auto& rank = pick_rank();
      const auto what = dice.pick(0, 13);
      const request_id id{dice.pick(1, requests)};
      world.clock().after(dice.delay(std::chrono::microseconds{30'000}), [&, what, id] {
        if (what == 0)
          world.kill(rank);
        else if (what < 4)
          rank.cancel(id);
        else if (what < 9)
          world.break_link(rank, rank.number() % 2 ? world.context(0) : world.generation(0));
        else if (what < 13)
          rank.crash(id);
        else if (!rank.dead())
          rank.logic().cancel_all();
      });
    }
    const auto complaints = world.settle(milliseconds{5'000});
    BOOST_REQUIRE_MESSAGE(complaints.empty(), "BATON_SEED=" << seed << "\n" << joined(complaints));
    for (std::size_t rank = 0; rank < size.generation; ++rank)
      for (const auto& [id, outcome] : world.generation(rank).outcomes()) {
        ++(outcome.completed() ? completed : failed);
        for (const auto& source : outcome.sources)
          ++tickets[static_cast<std::size_t>(outcome.completed() ? source.ticket
                                                                 : ticket_use::none)];
      }
  }
  BOOST_TEST_MESSAGE(count << " seeds from " << start << ": " << completed
                           << " receives completed, " << failed << " failed; of the sources "
                           << tickets[1] << " were read by ticket, " << tickets[2]
                           << " after theirs was refused");
  // A simulation in which nothing works, or nothing fails, would prove nothing.
  if (!one) {
    BOOST_TEST(completed > count / 2);
    BOOST_TEST(failed > count / 10);
    BOOST_TEST(tickets[static_cast<std::size_t>(ticket_use::used)] > count / 10);
    BOOST_TEST(tickets[static_cast<std::size_t>(ticket_use::refused)] > count / 200);
  }
}

BOOST_AUTO_TEST_SUITE_END()
