#include <map>
#include <set>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "transport/session/event_waits.hpp"

namespace baton {

namespace {

constexpr session_key session{1};

/// Events that tests complete, and those who wait for them.
struct bench {
  gpu_event_ref event(std::size_t number) {
    return {reinterpret_cast<void*>(number + 1)}; // never followed
  }

  expected<bool> look(gpu_event_ref which) {
    ++looks;
    if (failed.contains(which.handle))
      return fail(errc::gpu_failed, "made up");
    return complete.contains(which.handle);
  }

  std::shared_ptr<event_wait> begin(std::size_t number) {
    auto wait = std::make_shared<event_wait>(
        session, event(number),
        [this, number](const expected<>& result) {
          ended[number] = result ? "complete" : std::string{to_string(result.error().code)};
        },
        ledger, cancel);
    return wait->begin() ? wait : nullptr;
  }

  session_ledger ledger;
  std::vector<std::shared_ptr<event_wait>> asked;
  const event_wait::canceller cancel = [this](std::shared_ptr<event_wait> wait) {
    asked.push_back(std::move(wait));
  };
  std::set<void*> complete;
  std::set<void*> failed;
  std::size_t looks = 0;
  std::map<std::size_t, std::string> ended;
  event_waits waits{[this](gpu_event_ref which) { return look(which); }};
};

} // namespace

BOOST_AUTO_TEST_SUITE(waits_for_events)

BOOST_AUTO_TEST_CASE(each_wait_ends_with_its_own_event) {
  bench all;
  for (std::size_t i = 0; i < 3; ++i)
    all.waits.add(all.begin(i));
  BOOST_TEST(!all.waits.look());
  BOOST_TEST(all.ended.empty());
  all.complete.insert(all.event(1).handle);
  all.failed.insert(all.event(2).handle);
  BOOST_TEST(all.waits.look());
  BOOST_TEST(all.ended.size() == 2u);
  BOOST_TEST(all.ended[1] == "complete");
  BOOST_TEST(all.ended[2] == "gpu_failed");
  BOOST_TEST(!all.waits.empty());
  all.complete.insert(all.event(0).handle);
  BOOST_TEST(all.waits.look());
  BOOST_TEST(all.ended[0] == "complete");
  BOOST_TEST(all.waits.empty());
}

BOOST_AUTO_TEST_CASE(many_waits_take_turns) {
  bench all;
  constexpr std::size_t count = 3 * event_waits::most_looks;
  for (std::size_t i = 0; i < count; ++i)
    all.waits.add(all.begin(i));
  BOOST_TEST(!all.waits.look());
  BOOST_TEST(all.looks == event_waits::most_looks);
  all.complete.insert(all.event(count - 1).handle);
  for (int round = 0; round < 3; ++round)
    static_cast<void>(all.waits.look());
  BOOST_TEST(all.ended.size() == 1u);
  BOOST_TEST(all.ended[count - 1] == "complete");
}

BOOST_AUTO_TEST_CASE(a_session_that_retires_ends_its_waits_first) {
  bench all;
  all.waits.add(all.begin(0));
  bool retired = false;
  for (const auto& job : all.ledger.retire(session, [&] { retired = true; }))
    job->abort();
  BOOST_REQUIRE(all.asked.size() == 1u);
  BOOST_TEST(!retired);
  all.waits.cancel(*all.asked[0]);
  BOOST_TEST(all.ended[0] == "cancelled");
  BOOST_TEST(retired);
  all.waits.cancel(*all.asked[0]);
  BOOST_TEST(all.begin(1) == nullptr);
  BOOST_TEST(all.ended[1] == "cancelled");
}

BOOST_AUTO_TEST_CASE(a_wait_that_was_aborted_on_its_way_ends_at_once) {
  bench all;
  const auto wait = all.begin(0);
  wait->abort();
  all.waits.add(wait);
  BOOST_TEST(all.ended[0] == "cancelled");
  BOOST_TEST(all.waits.empty());
}

BOOST_AUTO_TEST_CASE(a_callback_that_throws_takes_no_other_with_it) {
  bench all;
  const event_wait::canceller nobody = [](const std::shared_ptr<event_wait>&) {};
  all.waits.add(all.begin(0));
  const auto bad = std::make_shared<event_wait>(
      session, all.event(9), [](const expected<>&) { throw 7; }, all.ledger, nobody);
  BOOST_REQUIRE(bad->begin());
  all.waits.add(bad);
  all.waits.add(all.begin(1));
  BOOST_CHECK_THROW(all.waits.cancel_all({errc::cancelled, "the end"}), int);
  all.waits.cancel_all({errc::cancelled, "the end"});
  BOOST_TEST(all.ended.size() == 2u);
  BOOST_TEST(all.waits.empty());
  bool retired = false;
  BOOST_TEST(all.ledger.retire(session, [&] { retired = true; }).empty());
  BOOST_TEST(retired);
}

BOOST_AUTO_TEST_CASE(all_waits_can_be_ended_together) {
  bench all;
  for (std::size_t i = 0; i < 5; ++i)
    all.waits.add(all.begin(i));
  all.waits.cancel_all({errc::cancelled, "the end"});
  BOOST_TEST(all.ended.size() == 5u);
  BOOST_TEST(all.waits.empty());
  BOOST_TEST(!all.waits.look());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
