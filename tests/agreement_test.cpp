// The agreement of the ranks of an instance on what their status calls return.
#include <cstdlib>

#include <boost/test/unit_test.hpp>

#include "tests/support/agreeing_ranks.hpp"

using namespace baton;
using namespace baton::test;
using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {

constexpr request_id first{1};

error cancelled(const char* text = "by its engine") {
  return {errc::cancelled, text};
}

void run_all(agreeing_ranks& world, bool prepares = false) {
  for (std::uint32_t rank = 0; rank < world.size(); ++rank)
    world.rank(rank).run(microseconds{2'000}, prepares);
}

/// The n-th calls of two ranks must have returned the same, for as many as both have made.
void check_alike(agreeing_rank& one, agreeing_rank& other, std::uint64_t seed = 0) {
  const auto count = std::min(one.answers().size(), other.answers().size());
  for (std::size_t n = 0; n < count; ++n) {
    const auto& a = one.answers()[n];
    const auto& b = other.answers()[n];
    BOOST_REQUIRE_MESSAGE(a.ended.size() == b.ended.size(),
                          "BATON_SEED=" << seed << " call " << n << " returned " << a.ended.size()
                                        << " and " << b.ended.size());
    for (const auto& [id, result] : a.ended) {
      BOOST_REQUIRE_MESSAGE(b.ended.contains(id), "BATON_SEED=" << seed << " call " << n);
      BOOST_REQUIRE_MESSAGE(b.ended.at(id).completed() == result.completed(),
                            "BATON_SEED=" << seed << " request " << id.value);
      if (result.failure)
        BOOST_REQUIRE((b.ended.at(id).failure == result.failure));
    }
    BOOST_REQUIRE_MESSAGE(a.ready == b.ready, "BATON_SEED=" << seed << " call " << n);
  }
}

void check_alike(agreeing_ranks& world, std::uint64_t seed = 0) {
  for (std::uint32_t rank = 1; rank < world.size(); ++rank)
    check_alike(world.rank(0), world.rank(rank), seed);
}

outcome end_of(agreeing_rank& rank, request_id id) {
  const auto all = rank.all();
  const auto found = all.find(id);
  BOOST_REQUIRE(found != all.end());
  return found->second;
}

} // namespace

BOOST_AUTO_TEST_SUITE(agreement)

BOOST_AUTO_TEST_CASE(a_request_is_complete_when_the_last_rank_has_it) {
  agreeing_ranks world{1, 3};
  for (std::uint32_t rank = 0; rank < 3; ++rank)
    world.rank(rank).serve(first, milliseconds{10 + 100 * rank}, std::nullopt);
  run_all(world);
  world.run(milliseconds{200});
  for (std::uint32_t rank = 0; rank < 3; ++rank)
    BOOST_TEST(world.rank(rank).all().empty());
  world.run(milliseconds{50});
  for (std::uint32_t rank = 0; rank < 3; ++rank) {
    BOOST_TEST(end_of(world.rank(rank), first).completed());
    BOOST_TEST(end_of(world.rank(rank), first).agreed);
    BOOST_TEST(world.rank(rank).member().kept() == 0u);
  }
  check_alike(world);
}

BOOST_AUTO_TEST_CASE(a_request_has_failed_as_soon_as_one_rank_failed_it) {
  agreeing_ranks world{2, 3};
  world.rank(0).serve(first, milliseconds{5}, std::nullopt);
  world.rank(1).serve(first, milliseconds{20}, cancelled());
  world.rank(2).serve(first, milliseconds{60'000}, std::nullopt);
  run_all(world);
  world.run(milliseconds{60});
  for (std::uint32_t rank = 0; rank < 3; ++rank) {
    const auto end = end_of(world.rank(rank), first);
    BOOST_REQUIRE(end.failure.has_value());
    BOOST_TEST((end.failure->code == errc::cancelled));
    BOOST_TEST(end.failure->text == "rank 1 of this instance: by its engine");
    BOOST_TEST((end.state == request_state::trans_error));
  }
  check_alike(world);
}

BOOST_AUTO_TEST_CASE(a_failure_reaches_ranks_that_do_not_know_the_request) {
  agreeing_ranks world{3, 2};
  world.rank(0).serve(first, milliseconds{5}, cancelled());
  run_all(world);
  world.run(milliseconds{60});
  BOOST_TEST(end_of(world.rank(1), first).failure.has_value());
  check_alike(world);
}

BOOST_AUTO_TEST_CASE(a_call_costs_one_message_and_its_answer) {
  agreeing_ranks world{4, 4};
  for (std::uint64_t id = 1; id <= 200; ++id)
    for (std::uint32_t rank = 0; rank < 4; ++rank)
      world.rank(rank).serve(request_id{id}, microseconds{500 * id + 100 * rank}, std::nullopt);
  run_all(world);
  world.run(milliseconds{300});
  for (std::uint32_t rank = 0; rank < 4; ++rank) {
    auto& one = world.rank(rank);
    BOOST_TEST(one.all().size() == 200u);
    BOOST_TEST(one.votes() == one.answers().size() + (one.calling() ? 1 : 0));
  }
  check_alike(world);
}

BOOST_AUTO_TEST_CASE(calls_wait_for_as_many_as_they_want) {
  agreeing_ranks world{5, 2};
  world.at_least[0] = 2;
  world.at_least[1] = std::nullopt;
  for (std::uint64_t id = 1; id <= 4; ++id)
    for (std::uint32_t rank = 0; rank < 2; ++rank)
      world.rank(rank).serve(request_id{id}, milliseconds{20 * id + 5 * rank}, std::nullopt);
  run_all(world);
  world.run(milliseconds{1'000});
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    const auto& answers = world.rank(rank).answers();
    BOOST_REQUIRE(answers.size() > 2u);
    BOOST_TEST(answers[0].ended.size() == 2u);
    BOOST_TEST((answers[0].took >= milliseconds{40} && answers[0].took < milliseconds{80}));
    BOOST_TEST(answers[1].ended.size() == 2u);
    BOOST_TEST(world.rank(rank).votes() < answers.size() + 8);
  }
  check_alike(world);
}

BOOST_AUTO_TEST_CASE(a_call_for_all_ends_at_once_when_nothing_is_live) {
  agreeing_ranks world{6, 2};
  world.at_least[0] = std::nullopt;
  world.at_least[1] = 7;
  run_all(world);
  world.run(milliseconds{50});
  for (std::uint32_t rank = 0; rank < 2; ++rank)
    BOOST_TEST(world.rank(rank).answers().size() > 2u);
}

BOOST_AUTO_TEST_CASE(a_call_for_all_ends_soon_after_the_last_deadline) {
  agreeing_ranks world{7, 2};
  world.at_least[0] = std::nullopt;
  // It never ends on rank 1, though it should have.
  world.rank(0).serve(first, milliseconds{5}, std::nullopt, milliseconds{300});
  world.rank(1).serve(first, milliseconds{60'000}, std::nullopt, milliseconds{300});
  run_all(world);
  world.run(milliseconds{1'500});
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    BOOST_REQUIRE(!world.rank(rank).answers().empty());
    BOOST_TEST((world.rank(rank).answers()[0].took < milliseconds{300 + 500 + 100 + 50}));
  }
  // What ended on one rank only is not kept for ever.
  world.run(milliseconds{6'000});
  const auto end = end_of(world.rank(0), first);
  BOOST_REQUIRE(end.failure.has_value());
  BOOST_TEST((end.failure->code == errc::timed_out));
  BOOST_TEST(end.failure->text.find("rank(s) 1 of this instance did not report") !=
             std::string::npos);
  BOOST_TEST(end_of(world.rank(1), first).failure.has_value());
}

BOOST_AUTO_TEST_CASE(a_rank_that_makes_no_calls_delays_the_others_once) {
  agreeing_ranks world{8, 3};
  world.rank(0).run(microseconds{1'000});
  world.rank(1).run(microseconds{1'000});
  world.run(milliseconds{1'000});
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    std::size_t slow = 0;
    for (const auto& one : world.rank(rank).answers()) {
      BOOST_TEST((one.took < milliseconds{100 + 20}));
      slow += one.took > milliseconds{10};
    }
    BOOST_TEST(slow == 1u);
    BOOST_TEST(world.rank(rank).answers().size() > 200u);
  }
  // Once it does, the others wait for it again, and it is not behind for long.
  for (std::uint32_t rank = 0; rank < 3; ++rank)
    world.rank(rank).serve(first, milliseconds{5}, std::nullopt);
  world.rank(2).run(microseconds{1'000});
  world.run(milliseconds{50});
  for (std::uint32_t rank = 0; rank < 3; ++rank)
    BOOST_TEST(end_of(world.rank(rank), first).completed());
  check_alike(world.rank(0), world.rank(1));
}

BOOST_AUTO_TEST_CASE(a_slow_rank_learns_in_one_call_what_it_missed) {
  agreeing_ranks world{16, 2};
  for (std::uint64_t id = 1; id <= 3; ++id)
    world.rank(0).serve(request_id{id}, milliseconds{120 * id}, cancelled());
  world.rank(0).run(microseconds{1'000});
  world.run(milliseconds{500});
  BOOST_TEST(world.rank(0).all().size() == 3u);
  world.rank(1).run(microseconds{1'000});
  world.run(milliseconds{20});
  BOOST_REQUIRE(!world.rank(1).answers().empty());
  BOOST_TEST(world.rank(1).answers()[0].ended.size() == 3u);
  BOOST_TEST(world.rank(1).all().size() == 3u);
}

BOOST_AUTO_TEST_CASE(a_lost_rank_fails_what_it_did_not_have_and_blocks_nobody) {
  agreeing_ranks world{9, 3};
  constexpr request_id had{1}, lacked{2}, later{3};
  for (std::uint32_t rank = 0; rank < 3; ++rank) {
    world.rank(rank).serve(had, milliseconds{5}, std::nullopt);
    world.rank(rank).serve(lacked, milliseconds{rank == 2 ? 500 : 5}, std::nullopt);
    world.rank(rank).serve(later, milliseconds{150}, std::nullopt);
  }
  run_all(world);
  world.run(milliseconds{100});
  world.kill(2);
  world.run(milliseconds{100});
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    BOOST_TEST(end_of(world.rank(rank), had).completed());
    for (const auto id : {lacked, later}) {
      const auto end = end_of(world.rank(rank), id);
      BOOST_REQUIRE(end.failure.has_value());
      BOOST_TEST((end.failure->code == errc::peer_lost));
      BOOST_TEST(end.failure->text.find("rank 2 of this instance was lost") != std::string::npos);
    }
    for (const auto& one : world.rank(rank).answers())
      BOOST_TEST((one.took < milliseconds{50}));
  }
  check_alike(world.rank(0), world.rank(1));
}

BOOST_AUTO_TEST_CASE(a_restarted_rank_takes_part_in_what_comes_after) {
  agreeing_ranks world{10, 2};
  run_all(world);
  world.run(milliseconds{300});
  for (std::uint32_t rank = 0; rank < 2; ++rank)
    world.rank(rank).serve(first, milliseconds{rank == 0 ? 5 : 500}, std::nullopt);
  world.run(milliseconds{50});
  world.restart(1);
  world.run(milliseconds{5});
  const auto before = world.rank(0).answers().size();
  world.rank(1).run(microseconds{2'000});
  world.run(milliseconds{30});
  BOOST_TEST((end_of(world.rank(0), first).failure->code == errc::peer_lost));
  constexpr request_id second{2};
  for (std::uint32_t rank = 0; rank < 2; ++rank)
    world.rank(rank).serve(second, milliseconds{5}, std::nullopt);
  world.run(milliseconds{50});
  for (std::uint32_t rank = 0; rank < 2; ++rank)
    BOOST_TEST(end_of(world.rank(rank), second).completed());
  BOOST_TEST(world.rank(0).answers().size() > before + 20);
}

BOOST_AUTO_TEST_CASE(without_the_directory_each_rank_says_what_it_knows_itself) {
  agreeing_ranks world{11, 2};
  run_all(world);
  world.run(milliseconds{50});
  world.rank(0).serve(first, milliseconds{5}, std::nullopt);
  world.rank(1).serve(first, milliseconds{60'000}, std::nullopt);
  world.run(milliseconds{50});
  BOOST_TEST(world.rank(0).all().empty());
  world.lose_directory();
  world.run(milliseconds{50});
  const auto end = end_of(world.rank(0), first);
  BOOST_TEST(end.completed());
  BOOST_TEST(!end.agreed);
  BOOST_TEST(world.rank(1).all().empty());
  for (const auto& one : world.rank(0).answers())
    BOOST_TEST((one.took < milliseconds{60}));
  // A new one takes over.
  world.find_directory();
  constexpr request_id second{2};
  for (std::uint32_t rank = 0; rank < 2; ++rank)
    world.rank(rank).serve(second, milliseconds{5 + 30 * rank}, std::nullopt);
  world.run(milliseconds{1'000});
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    BOOST_TEST(end_of(world.rank(rank), second).completed());
    BOOST_TEST(end_of(world.rank(rank), second).agreed);
  }
}

BOOST_AUTO_TEST_CASE(a_silent_directory_delays_a_call_for_a_bounded_time) {
  agreement_faults dead_line;
  dead_line.loss = 1;
  agreeing_ranks world{12, 2, dead_line};
  world.rank(0).serve(first, milliseconds{5}, std::nullopt);
  run_all(world);
  world.run(milliseconds{5'000});
  const auto end = end_of(world.rank(0), first);
  BOOST_TEST(end.completed());
  BOOST_TEST(!end.agreed);
  for (const auto& one : world.rank(0).answers())
    BOOST_TEST((one.took <= milliseconds{100 + 2'000 + 20}));
  BOOST_TEST(world.rank(0).answers().size() >= 2u);
}

BOOST_AUTO_TEST_CASE(a_prepared_request_is_ready_when_all_ranks_were_asked) {
  agreeing_ranks world{13, 3};
  run_all(world, true);
  world.rank(0).asked(first);
  world.run(milliseconds{50});
  world.rank(1).asked(first);
  world.run(milliseconds{50});
  const auto count = [&](std::uint32_t rank) {
    std::size_t count = 0;
    for (const auto& one : world.rank(rank).answers())
      count += one.ready.size();
    return count;
  };
  BOOST_TEST(count(0) == 0u);
  world.rank(2).asked(first);
  world.run(milliseconds{50});
  for (std::uint32_t rank = 0; rank < 3; ++rank)
    BOOST_TEST(count(rank) == 1u);
  check_alike(world);
  world.run(milliseconds{100});
  for (std::uint32_t rank = 0; rank < 3; ++rank)
    BOOST_TEST(count(rank) == 1u);
}

BOOST_AUTO_TEST_CASE(what_a_restarted_rank_had_before_counts_and_is_settled) {
  agreeing_ranks world{15, 2};
  run_all(world);
  world.rank(0).serve(first, milliseconds{300}, std::nullopt);
  world.rank(1).serve(first, milliseconds{5}, std::nullopt);
  world.run(milliseconds{50});
  world.restart(1);
  world.at_least[0] = std::nullopt;
  world.rank(1).run(microseconds{2'000});
  world.run(milliseconds{400});
  BOOST_TEST(end_of(world.rank(0), first).completed());
  // It waits for nothing that cannot come.
  BOOST_TEST(world.rank(1).answers().size() > 10u);
}

BOOST_AUTO_TEST_CASE(calls_of_a_single_rank_are_answered_like_any_other) {
  agreeing_ranks world{14, 1};
  world.rank(0).serve(first, milliseconds{5}, std::nullopt);
  run_all(world);
  world.run(milliseconds{50});
  BOOST_TEST(end_of(world.rank(0), first).completed());
}

/// Loss, repeats, delays, failures, and maybe one death: all must return the same, each request
/// once, and call by call if no call is later than the patience; nothing may be left. BATON_SEED
/// runs one seed.
BOOST_AUTO_TEST_CASE(whatever_goes_wrong_all_ranks_return_the_same) {
  const auto* one = std::getenv("BATON_SEED");
  const std::uint64_t start = one ? std::strtoull(one, nullptr, 10) : 1;
  const std::uint64_t count = one ? 1 : 1'000;
  std::size_t completed = 0, failed = 0, compared = 0;
  for (auto seed = start; seed < start + count; ++seed) {
    fake_world dice{seed * 6'700'417};
    agreement_faults faults;
    faults.loss = dice.chance(0.5) ? 0.1 * dice.chance(0.5) : 0;
    faults.repeat = dice.chance(0.3) ? 0.2 : 0;
    faults.longest_message = microseconds{dice.pick(100, 20'000)};
    const auto ranks = static_cast<std::uint32_t>(dice.pick(2, 5));
    agreeing_ranks world{seed, ranks, faults};
    for (std::size_t n = dice.pick(0, 5); n > 0; --n)
      world.at_least[dice.pick(0, 40)] =
          dice.chance(0.3) ? std::nullopt : std::optional<std::size_t>{dice.pick(1, 3)};
    bool in_step = faults.loss == 0;
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
      const bool slow = dice.chance(0.1);
      in_step = in_step && !slow;
      world.rank(rank).run(microseconds{dice.pick(1'000, slow ? 300'000 : 5'000)});
    }
    const auto requests = dice.pick(1, 20);
    std::map<request_id, bool> good;
    for (std::uint64_t id = 1; id <= requests; ++id) {
      const auto at = dice.delay(milliseconds{100});
      good[request_id{id}] = true;
      for (std::uint32_t rank = 0; rank < ranks; ++rank) {
        std::optional<error> failure;
        if (dice.chance(0.05))
          failure = cancelled();
        if (failure)
          good[request_id{id}] = false;
        world.clock().after(
            at + dice.delay(milliseconds{3}),
            [&world, rank, id, failure, span = microseconds{dice.pick(10, 50'000)}] {
              world.rank(rank).serve(request_id{id}, span, failure, milliseconds{2'000});
            });
      }
    }
    std::optional<std::uint32_t> dead;
    if (dice.chance(0.3)) {
      dead = static_cast<std::uint32_t>(dice.pick(0, ranks - 1));
      world.clock().after(dice.delay(milliseconds{150}), [&world, dead] { world.kill(*dead); });
    }
    const auto done = [&] {
      for (std::uint32_t rank = 0; rank < ranks; ++rank)
        if (rank != dead && world.rank(rank).all().size() < requests)
          return false;
      return true;
    };
    world.run(milliseconds{200});
    for (int i = 0; i < 300 && !done(); ++i)
      world.run(milliseconds{100});
    std::optional<std::uint32_t> witness;
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
      if (rank == dead)
        continue;
      if (!witness)
        witness = rank;
      compared += in_step;
      if (in_step)
        check_alike(world.rank(*witness), world.rank(rank), seed);
      const auto all = world.rank(rank).all();
      for (const auto& [id, result] : world.rank(*witness).all())
        BOOST_REQUIRE_MESSAGE(all.contains(id) && all.at(id).failure == result.failure,
                              "BATON_SEED=" << seed);
      BOOST_REQUIRE_MESSAGE(all.size() == requests, "BATON_SEED=" << seed << " rank " << rank
                                                                  << ": " << all.size() << " of "
                                                                  << requests);
      for (const auto& [id, result] : all) {
        BOOST_REQUIRE_MESSAGE(result.agreed, "BATON_SEED=" << seed);
        BOOST_REQUIRE_MESSAGE(!result.completed() || good.at(id), "BATON_SEED=" << seed);
        BOOST_REQUIRE_MESSAGE(dead || result.completed() == good.at(id), "BATON_SEED=" << seed);
        ++(result.completed() ? completed : failed);
      }
      BOOST_REQUIRE_MESSAGE(world.rank(rank).member().kept() == 0, "BATON_SEED=" << seed);
    }
  }
  if (!one) {
    BOOST_TEST(completed > count);
    BOOST_TEST(failed > count);
    BOOST_TEST(compared > count / 4);
  }
}

BOOST_AUTO_TEST_SUITE_END()
