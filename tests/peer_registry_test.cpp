#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "tests/support/planes.hpp"
#include "transport/peer_registry.hpp"

namespace baton {

namespace {

const incarnation life{77};
const lane_choice chosen{lane_kind::ucx, "asked for"};

peer_card card() {
  peer_card out;
  out.life = life;
  return out;
}

/// Introduces the peer from beginning to end.
void introduce_at_once(peer_registry& peers, const std::function<void()>& ready) {
  const auto ticket = peers.add(card(), [](const expected<lane_choice>&) {});
  BOOST_REQUIRE(ticket);
  peers.settle(life, *ticket, chosen, nullptr, ready);
}

} // namespace

BOOST_AUTO_TEST_SUITE(peer_registries)

BOOST_AUTO_TEST_CASE(an_introduction_that_was_forgotten_meanwhile_makes_nothing_ready) {
  peer_registry peers;
  test::eventually<expected<lane_choice>> answer;
  const auto ticket = peers.add(card(), answer.callback());
  BOOST_REQUIRE(ticket);
  peers.remove(life, [] {});
  BOOST_TEST(to_string(answer.get().value().error().code) == "peer_lost");
  bool ready = false;
  peers.settle(life, *ticket, chosen, nullptr, [&] { ready = true; });
  BOOST_TEST(!ready);
  BOOST_TEST(!peers.find(life));
}

BOOST_AUTO_TEST_CASE(a_new_introduction_cannot_get_ahead_of_what_forgetting_does) {
  peer_registry peers;
  introduce_at_once(peers, [] {});
  std::vector<std::string> order;
  test::eventually<bool> introduced;
  std::thread again;
  peers.remove(life, [&] {
    again = std::thread{[&, done = introduced.callback()] {
      introduce_at_once(peers, [&] { order.emplace_back("ready"); });
      done(true);
    }};
    BOOST_TEST(!introduced.get(std::chrono::milliseconds{100}));
    order.emplace_back("gone");
  });
  again.join();
  BOOST_TEST(order == (std::vector<std::string>{"gone", "ready"}),
             boost::test_tools::per_element());
  BOOST_TEST(peers.find(life));
}

BOOST_AUTO_TEST_CASE(who_pulled_from_us_can_be_pulled_from_later) {
  peer_registry peers;
  introduce_at_once(peers, [] {});
  auto more = card();
  more.pull = std::make_shared<const planner>(rank_layout{}, rank_layout{}, rank_pair{});
  test::eventually<expected<lane_choice>> failed;
  auto ticket = peers.add(more, failed.callback());
  BOOST_REQUIRE(ticket);
  BOOST_TEST(!peers.find(life)->card.pull);
  peers.settle(life, *ticket, fail(errc::transport_failed, "no lane"), nullptr, [] {});
  BOOST_TEST(!failed.get().value().has_value());
  BOOST_TEST_REQUIRE(peers.find(life));
  ticket = peers.add(more, [](const expected<lane_choice>&) {});
  BOOST_REQUIRE(ticket);
  peers.settle(life, *ticket, lane_choice{lane_kind::mapped, "same host"}, nullptr, [] {});
  BOOST_TEST(peers.find(life)->card.pull);
  // From now on it is known, whatever the next one wants.
  test::eventually<expected<lane_choice>> known;
  BOOST_TEST(!peers.add(card(), known.callback()));
  BOOST_TEST((known.get().value()->lane == lane_kind::mapped));
  BOOST_TEST(!peers.add(more, [](const expected<lane_choice>&) {}));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
