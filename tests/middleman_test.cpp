#include <chrono>
#include <string>

#include <boost/test/unit_test.hpp>

#include <caf/all.hpp>
#include <caf/io/all.hpp>

#include "actors/config.hpp"
#include "tests/support/nodes.hpp"
#include "tests/support/sockets.hpp"

/// Connections of CAF's network on which nobody answers.
using namespace baton;
using namespace baton::test;
using namespace std::chrono_literals;

namespace {

using clock_type = std::chrono::steady_clock;

constexpr auto patience = 500ms; ///< with a peer that says nothing
constexpr auto ample = 10s;

struct impatient_config : actor_config {
  explicit impatient_config(caf::timespan timeout) {
    set("middleman.heartbeat-interval", caf::timespan{1ms});
    set("middleman.connection-timeout", timeout);
  }
};

struct impatient_node {
  explicit impatient_node(caf::timespan timeout = patience) : config{timeout} {}

  /// Tries to reach an actor, and returns how long it took to fail.
  clock_type::duration fails_to_reach(std::uint16_t port) {
    const auto begin = clock_type::now();
    BOOST_TEST(!system.middleman().remote_actor("127.0.0.1", port));
    return clock_type::now() - begin;
  }

  impatient_config config;
  caf::actor_system system{config};
};

} // namespace

BOOST_AUTO_TEST_SUITE(network_of_actors)

BOOST_AUTO_TEST_CASE(a_peer_has_its_time_to_answer_a_new_connection) {
  const silent_port peer;
  impatient_node node;
  const auto took = node.fails_to_reach(peer.number());
  BOOST_TEST((took >= patience));
  BOOST_TEST((took < ample));
  BOOST_TEST(is_closed_within(peer.take(), ample));
}

BOOST_AUTO_TEST_CASE(connections_that_nobody_answers_leave_no_socket) {
  const silent_port peer;
  const auto port = peer.number();
  impatient_node node{5ms};
  static_cast<void>(node.fails_to_reach(port));
  const auto before = measure();
  for (int i = 0; i < 200; ++i)
    static_cast<void>(node.fails_to_reach(port));
  // The last one may be on its way out yet.
  const auto until = clock_type::now() + ample;
  while (measure().descriptors > before.descriptors && clock_type::now() < until)
    std::this_thread::sleep_for(1ms);
  BOOST_TEST(measure().descriptors <= before.descriptors);
}

BOOST_AUTO_TEST_CASE(who_connects_and_says_nothing_is_let_go) {
  impatient_node node;
  const auto nobody =
      node.system.spawn([](caf::event_based_actor*) -> caf::behavior { return {[](int) {}}; });
  const auto port = node.system.middleman().publish(nobody, 0, "127.0.0.1");
  BOOST_REQUIRE(port);
  const auto begin = clock_type::now();
  const auto mute = connect_to(*port);
  BOOST_TEST(is_closed_within(mute, ample));
  BOOST_TEST((clock_type::now() - begin >= patience));
  caf::anon_send_exit(nobody, caf::exit_reason::user_shutdown);
}

BOOST_AUTO_TEST_SUITE_END()
