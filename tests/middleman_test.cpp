#include <chrono>
#include <string>

#include <boost/test/unit_test.hpp>

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <caf/io/basp_broker.hpp>
#include <caf/io/network/test_multiplexer.hpp>

#include "actors/config.hpp"
#include "actors/middleman.hpp"
#include "tests/support/nodes.hpp"
#include "tests/support/sockets.hpp"

/// What CAF's network does with its connections.
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

struct scheduled_config : caf::actor_system_config {
  scheduled_config() {
    register_types(*this);
    set("scheduler.policy", caf::atom("testing"));
    set("middleman.manual-multiplexing", true);
    set("middleman.attach-utility-actors", true);
    load<middleman, caf::io::network::test_multiplexer>();
  }
};

/// A node whose network and scheduler move only when they are told to. Its peers are bytes.
struct scheduled_node {
  scheduled_node() {
    caf::anon_send(broker, caf::publish_atom_v, network.new_doorman(entrance, port), port,
                   caf::strong_actor_ptr{}, std::set<std::string>{});
    network.flush_runnables();
  }

  /// The peer connects, under a handle of the test's choice, and says who it is.
  void connects(const caf::node_id& peer, caf::io::connection_handle handle) {
    network.passive_mode(handle) = false;
    network.add_pending_connect(entrance, handle);
    network.accept_connection(entrance);
    says(handle, caf::io::basp::message_type::client_handshake, peer);
  }

  template <class... Content>
  void says(caf::io::connection_handle handle, caf::io::basp::message_type type,
            const Content&... content) {
    const auto receiver = type == caf::io::basp::message_type::direct_message
                              ? caf::actor_id{1}
                              : caf::invalid_actor_id;
    std::vector<char> bytes;
    caf::io::basp::header head{type, 0, 0, 0, caf::invalid_actor_id, receiver};
    auto payload =
        caf::make_callback([&](caf::serializer& sink) -> caf::error { return sink(content...); });
    caf::io::basp::instance::write(&network, bytes, head, &payload);
    network.virtual_send(handle, bytes);
  }

  void breaks(caf::io::connection_handle handle) {
    network.impl_ptr(handle)->io_failure(&network, caf::io::network::operation::read);
  }

  /// The handle that messages to the peer take, or an invalid one.
  caf::io::connection_handle route_to(const caf::node_id& peer) {
    auto& routes = static_cast<caf::io::basp_broker*>(caf::actor_cast<caf::abstract_actor*>(broker))
                       ->instance.tbl();
    const auto found = routes.lookup(peer);
    return found ? found->hdl : caf::io::invalid_connection_handle;
  }

  /// Runs all that waits.
  void settle() {
    while (scheduler.run() > 0 || network.try_exec_runnable()) {
    }
  }

  static constexpr std::uint16_t port = 4711;
  static inline const auto entrance = caf::io::accept_handle::from_int(1);

  scheduled_config config;
  caf::actor_system system{config};
  caf::scheduler::test_coordinator& scheduler =
      dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  caf::io::network::test_multiplexer& network =
      dynamic_cast<caf::io::network::test_multiplexer&>(system.middleman().backend());
  caf::actor broker = system.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP"));
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

BOOST_AUTO_TEST_CASE(a_new_connection_has_nothing_of_the_one_whose_handle_it_gets) {
  scheduled_node node;
  const auto handle = caf::io::connection_handle::from_int(2);
  const auto old_peer = caf::make_node_id(1, std::string(40, 'a'));
  const auto new_peer = caf::make_node_id(2, std::string(40, 'a'));
  BOOST_REQUIRE((old_peer && new_peer));
  node.connects(*old_peer, handle);
  BOOST_REQUIRE((node.route_to(*old_peer) == handle));
  // A message is being read while the connection breaks, so the end of it waits.
  node.says(handle, caf::io::basp::message_type::direct_message,
            std::vector<caf::strong_actor_ptr>{}, caf::make_message(42));
  node.breaks(handle);
  node.connects(*new_peer, handle);
  BOOST_TEST((node.route_to(*old_peer) == caf::io::invalid_connection_handle));
  BOOST_TEST((node.route_to(*new_peer) == handle));
  node.settle();
  BOOST_TEST((node.route_to(*old_peer) == caf::io::invalid_connection_handle));
  BOOST_TEST((node.route_to(*new_peer) == handle));
  node.breaks(handle);
  node.settle();
  BOOST_TEST((node.route_to(*new_peer) == caf::io::invalid_connection_handle));
}

BOOST_AUTO_TEST_SUITE_END()
