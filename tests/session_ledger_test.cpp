#include <memory>

#include <boost/test/unit_test.hpp>

#include "transport/lease/grant_book.hpp"
#include "transport/session/session_ledger.hpp"

namespace baton {

namespace {

struct counted_job final : abortable {
  void abort() noexcept override { ++aborts; }
  int aborts = 0;
};

} // namespace

BOOST_AUTO_TEST_SUITE(session_ledgers)

BOOST_AUTO_TEST_CASE(a_session_retires_when_the_last_use_has_left) {
  session_ledger ledger;
  const session_key key{1};
  BOOST_REQUIRE(ledger.enter(key));
  BOOST_REQUIRE(ledger.enter(key));
  bool retired = false;
  BOOST_TEST(ledger.retire(key, [&] { retired = true; }).empty());
  BOOST_TEST(!ledger.enter(key));
  ledger.leave(key);
  BOOST_TEST(!retired);
  ledger.leave(key);
  BOOST_TEST(retired);
}

BOOST_AUTO_TEST_CASE(a_session_that_has_retired_lets_nobody_in_again) {
  session_ledger ledger;
  const session_key key{7};
  bool retired = false;
  BOOST_TEST(ledger.retire(key, [&] { retired = true; }).empty());
  BOOST_TEST(retired);
  BOOST_TEST(!ledger.enter(key, std::make_shared<counted_job>()));
  BOOST_TEST(ledger.enter(session_key{6}));
  BOOST_TEST(ledger.enter(session_key{8}));
}

BOOST_AUTO_TEST_CASE(retiring_twice_answers_twice) {
  session_ledger ledger;
  const session_key key{7};
  const auto job = std::make_shared<counted_job>();
  BOOST_REQUIRE(ledger.enter(key, job));
  int answers = 0;
  BOOST_TEST(ledger.retire(key, [&] { ++answers; }).size() == 1u);
  BOOST_TEST(ledger.retire(key, [&] { ++answers; }).size() == 1u);
  ledger.leave(key, job.get());
  BOOST_TEST(answers == 2);
  BOOST_TEST(ledger.retire(key, [&] { ++answers; }).empty());
  BOOST_TEST(answers == 3);
}

BOOST_AUTO_TEST_CASE(a_session_that_has_retired_gets_no_lease) {
  grant_book book{lease_table::create(incarnation{1}, 4).value(), rank_layout{}};
  const session_key key{3};
  const auto right = book.grant(key, {});
  BOOST_REQUIRE(right);
  BOOST_TEST(book.retire(key).size() == 1u);
  BOOST_TEST(!book.find(*right));
  const auto late = book.grant(key, {});
  BOOST_REQUIRE(!late);
  BOOST_TEST(to_string(late.error().code) == "cancelled");
  BOOST_TEST(book.table().granted() == 0u);
  BOOST_TEST(book.grant(session_key{4}, {}).has_value());
}

BOOST_AUTO_TEST_CASE(retired_keys_take_room_for_the_living_only) {
  retired_keys keys;
  for (std::uint64_t key = 1; key <= 1'000; ++key)
    if (key % 100 != 0)
      keys.insert(session_key{key});
  BOOST_TEST(keys.runs() == 10u);
  for (std::uint64_t key = 1; key <= 1'000; ++key)
    BOOST_REQUIRE(keys.contains(session_key{key}) == (key % 100 != 0));
  BOOST_TEST(!keys.contains(session_key{0}));
  for (std::uint64_t key = 1'000; key >= 100; key -= 100)
    keys.insert(session_key{key});
  keys.insert(session_key{500});
  BOOST_TEST(keys.runs() == 1u);
  BOOST_TEST((keys.contains(session_key{1'000}) && !keys.contains(session_key{1'001})));
  keys.insert(session_key{UINT64_MAX});
  keys.insert(session_key{0});
  BOOST_TEST(keys.runs() == 2u);
  BOOST_TEST((keys.contains(session_key{0}) && keys.contains(session_key{UINT64_MAX})));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
