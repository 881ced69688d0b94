#include <boost/test/unit_test.hpp>

#include "tests/support/settled.hpp"

/// Slices whose blocks are given back before their request has ended. The simulation rewrites them
/// at once, after a look whether every receiver has read them.
using namespace baton;
using namespace baton::test;
using std::chrono::milliseconds;

namespace {

constexpr request_id first{1};
constexpr milliseconds long_after{60'000};
constexpr milliseconds gap{40};

/// A context rank offers three slices, of which the first two are wanted back.
struct three_slices {
  explicit three_slices(simulation::shape size, chaos faults = {}) : world{1, size, faults} {}

  void offer(std::size_t rank = 0) {
    world.context(rank).offer(first, {{{0, 2}, {}, true}, {{2, 4}, {}, true}, {{4, 6}}}, long_after,
                              gap);
  }
  void receive(std::size_t rank) { world.generation(rank).receive(first, 6, 0, long_after); }
  void run(milliseconds time) { world.clock().run(world.clock().now() + time); }

  [[nodiscard]] std::string released(std::size_t rank = 0) {
    std::string all;
    for (const auto& one : world.context(rank).released())
      all += fmt::format("{} ", one.slice);
    return all;
  }
  void require_clean() { test::require_clean(world); }

  simulation world;
};

} // namespace

BOOST_AUTO_TEST_SUITE(early_release)

BOOST_AUTO_TEST_CASE(a_slice_is_released_once_every_receiver_has_read_it) {
  three_slices of{{1, 0, 2}};
  of.receive(0);
  of.offer();
  of.run(gap / 2);
  // Nobody knows that of the second receiver yet.
  BOOST_TEST(of.released() == "");
  of.receive(1);
  of.run(gap / 2);
  BOOST_TEST(of.released() == "0 ");
  of.run(gap);
  BOOST_TEST(of.released() == "0 1 ");
  of.require_clean();
  BOOST_TEST(of.released() == "0 1 ");
  BOOST_TEST(of.world.context(0).outcomes().at(first).completed());
  for (std::size_t rank = 0; rank < 2; ++rank)
    BOOST_TEST(of.world.generation(rank).outcomes().at(first).completed());
}

BOOST_AUTO_TEST_CASE(a_rank_from_which_nobody_pulls_releases_what_is_computed) {
  three_slices of{{1, 1, 1}};
  of.world.context(1).hold_work();
  of.offer(0);
  of.offer(1);
  of.receive(0);
  of.run(gap / 2);
  BOOST_TEST(of.released(0) == "0 ");
  BOOST_TEST(of.released(1) == "");
  of.world.context(1).finish_work(first, 0);
  of.run(gap / 4);
  BOOST_TEST(of.released(1) == "0 ");
  of.run(3 * gap);
  of.world.context(1).finish_work(first, 1);
  of.world.context(1).finish_work(first, 2);
  of.require_clean();
  for (std::size_t rank = 0; rank < 2; ++rank)
    BOOST_TEST(of.world.context(rank).outcomes().at(first).completed());
}

BOOST_AUTO_TEST_CASE(a_receiver_that_begins_anew_with_what_it_has_goes_on) {
  three_slices of{{2, 0, 1}};
  of.receive(0);
  of.offer(0);
  of.offer(1);
  of.run(gap / 2);
  BOOST_TEST(of.released(0) == "0 ");
  BOOST_TEST(of.released(1) == "0 ");
  of.world.break_link(of.world.context(0), of.world.generation(0));
  of.require_clean();
  const auto& ended = of.world.generation(0).outcomes().at(first);
  BOOST_TEST(ended.completed());
  BOOST_TEST(ended.attempts == 2u);
  BOOST_TEST(ended.bytes == 12u);
  BOOST_TEST(of.released(0) == "0 1 ");
}

BOOST_AUTO_TEST_CASE(a_receiver_that_has_lost_what_it_read_ends_the_request) {
  three_slices of{{1, 0, 1}};
  of.receive(0);
  of.offer();
  of.run(gap / 2);
  BOOST_TEST(of.released() == "0 ");
  pull_request again{
      .request = first, .pull = pull_id{7}, .receivers = 1, .wants = {{"full", {0, 6}}}};
  again.remaining = long_after;
  auto& source = of.world.context(0);
  source.logic().received(of.world.clock().now(), of.world.generation(0).life(), again);
  of.run(gap);
  BOOST_TEST(source.plane().granted() == 0u);
  const auto& failure = source.outcomes().at(first).failure;
  BOOST_REQUIRE(failure.has_value());
  BOOST_TEST((failure->code == errc::lease_revoked));
  BOOST_TEST(failure->text == "generation rank 0 needs slice 0 of request 1 again, but its blocks "
                              "were released early; compute the request anew");
  BOOST_TEST(source.outcomes().at(first).attempts == 1u);
  of.world.generation(0).cancel(first);
  of.require_clean();
}

/// What the rank has told its engine stays true in the next attempt of its own session.
BOOST_AUTO_TEST_CASE(a_sender_that_crashes_does_not_grant_again_what_it_released) {
  chaos faults;
  faults.crash = 0.2;
  std::size_t crashed = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    simulation world{seed, {2, 0, 2}, faults};
    world.hand_over(first, {{{0, 2}, {}, true}, {{2, 4}, {}, true}, {{4, 6}, {}, true}}, 0,
                    milliseconds{2'000});
    const auto complaints = world.settle(milliseconds{5'000});
    BOOST_REQUIRE_MESSAGE(complaints.empty(), "seed " << seed << "\n" << joined(complaints));
    const auto& ended = world.context(0).outcomes().at(first);
    crashed += ended.attempts > 1 && !world.context(0).released().empty();
  }
  BOOST_TEST(crashed > 30u);
}

BOOST_AUTO_TEST_SUITE_END()
