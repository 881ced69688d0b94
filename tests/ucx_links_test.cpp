#include <memory>
#include <string>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "transport/ucx/peers.hpp"
#include "transport/ucx/stall_clock.hpp"

namespace baton {

namespace {

using namespace std::chrono_literals;
namespace data = boost::unit_test::data;
using clock = ucx_peers::clock;

const std::vector<std::string> transports{"posix,cma,self", "tcp"};

ucx_settings settings_for(const std::string& over) {
  ucx_settings settings;
  settings.transports = over;
  settings.tcp_devices = over == "tcp" ? "lo" : "";
  settings.chunk_bytes = 64 * 1024;
  return settings;
}

/// One end of links, driven by the test's own thread.
struct link_end final : ucx_sink {
  explicit link_end(const std::string& over, ucx_connecting connecting = ucx_connecting::on_demand)
      : context{ucx_context::create(context_settings(settings_for(over))).value()},
        life{random_id<incarnation>()},
        peers{
            life, worker, connecting, 1000ms,
            [this](const ucx_peers::shared_peer&, const error& why) { ends.push_back(why.text); }} {
    BOOST_REQUIRE(worker.open(lane_messages));
  }
  ~link_end() override {
    peers.close();
    worker.close();
  }

  void received(const ucx_message& message) noexcept override {
    ids.push_back(static_cast<lane_message>(message.id));
    if (ids.back() == lane_message::bye)
      peers.left(message);
  }

  /// Gets to know another end.
  ucx_peers::shared_peer add(const link_end& other) {
    peers.add({other.life, other.worker.address().value(), 64 * 1024, nullptr});
    return peers.find(other.life);
  }

  /// Takes a good-bye that some message of `sender` brings.
  void hear_bye(const link_end& sender, std::uint64_t link, std::uint64_t peer_link) {
    const bye_head head{sender.life.value, link, peer_link};
    peers.left({static_cast<unsigned>(lane_message::bye), std::as_bytes(std::span{&head, 1})});
    peers.end_broken();
  }

  ucx_context context;
  incarnation life;
  ucx_worker worker{context, *this};
  std::vector<std::string> ends; ///< of links
  ucx_peers peers{
      life, worker, ucx_connecting::on_demand, 1000ms,
      [this](const ucx_peers::shared_peer&, const error& why) { ends.push_back(why.text); }};
  std::vector<lane_message> ids; ///< of what arrived
};

/// Two ends that know each other.
struct link_pair {
  explicit link_pair(const std::string& over, ucx_connecting connecting = ucx_connecting::on_demand)
      : one{over, connecting},
        other{over, connecting},
        to_other{one.add(other)},
        to_one{other.add(one)} {}

  /// Drives both until the other end has got so many messages and the first one has closed what it
  /// wanted to close.
  [[nodiscard]] bool settles(std::size_t messages) {
    const auto end = clock::now() + 10s;
    while (other.ids.size() < messages || one.peers.is_watching()) {
      if (clock::now() > end)
        return false;
      for (auto* side : {&one, &other}) {
        side->worker.progress();
        side->peers.end_broken();
        side->peers.watch(clock::now());
      }
    }
    return true;
  }

  link_end one;
  link_end other;
  ucx_peers::shared_peer to_other;
  ucx_peers::shared_peer to_one;
};

} // namespace

BOOST_AUTO_TEST_SUITE(ucx_links)

BOOST_AUTO_TEST_CASE(a_stall_is_time_waited_for_without_a_move_while_somebody_looked) {
  stall_clock stall;
  const clock::time_point start{1h};
  BOOST_TEST((stall.look(start, true, 5) == 0ms));
  BOOST_TEST((stall.look(start + 50ms, true, 5) == 50ms));
  BOOST_TEST((stall.look(start + 150ms, true, 5) == 150ms));
  BOOST_TEST((stall.look(start + 200ms, true, 6) == 0ms));
  BOOST_TEST((stall.look(start + 300ms, true, 6) == 100ms));
  BOOST_TEST((stall.look(start + 350ms, false, 6) == 0ms));
  BOOST_TEST((stall.look(start + 400ms, true, 6) == 0ms));
  BOOST_TEST((stall.look(start + 1h, true, 6) == stall_clock::most_counted));
}

BOOST_AUTO_TEST_CASE(a_peer_that_connects_anew_ends_both_halves_of_the_old_link) {
  link_pair pair{"posix,cma,self"};
  BOOST_REQUIRE(pair.other.peers.meet(pair.to_one, 7));
  const auto first = pair.to_one->link;
  BOOST_REQUIRE(pair.other.peers.meet(pair.to_one, 7));
  BOOST_TEST(pair.to_one->link == first);
  BOOST_TEST(pair.other.ends.empty());
  BOOST_REQUIRE(pair.other.peers.meet(pair.to_one, 8));
  BOOST_TEST(pair.to_one->link > first);
  BOOST_REQUIRE(pair.other.ends.size() == 1u);
  BOOST_TEST(pair.other.ends.front() == "the peer connected anew");
}

BOOST_AUTO_TEST_CASE(an_endpoint_of_our_own_making_serves_the_first_call) {
  link_pair pair{"posix,cma,self"};
  BOOST_REQUIRE(pair.other.peers.connect(pair.to_one));
  const auto link = pair.to_one->link;
  BOOST_REQUIRE(pair.other.peers.meet(pair.to_one, 3));
  BOOST_TEST(pair.to_one->link == link);
  BOOST_TEST(pair.other.ends.empty());
}

BOOST_AUTO_TEST_CASE(stale_calls_and_good_byes_leave_the_present_link_alone) {
  link_pair pair{"posix,cma,self"};
  auto& peers = pair.other.peers;
  BOOST_REQUIRE(peers.meet(pair.to_one, 7));
  const auto old = pair.to_one->link;
  BOOST_REQUIRE(peers.meet(pair.to_one, 8));
  pair.other.ends.clear();
  const auto late = peers.meet(pair.to_one, 7);
  BOOST_TEST((!late && late.error().code == errc::peer_lost));
  pair.other.hear_bye(pair.one, 7, old);
  pair.other.hear_bye(pair.one, 7, 0);
  pair.other.hear_bye(pair.one, 8, old);
  BOOST_TEST(pair.other.ends.empty());
  BOOST_TEST(pair.to_one->endpoint != nullptr);
  pair.other.hear_bye(pair.one, 8, 0);
  BOOST_TEST(pair.other.ends.size() == 1u);
  BOOST_TEST(pair.to_one->endpoint == nullptr);
}

BOOST_DATA_TEST_CASE(last_words_arrive_although_the_link_is_closed_behind_them,
                     data::make(transports)) {
  link_pair pair{sample};
  BOOST_REQUIRE(pair.one.peers.connect(pair.to_other));
  pair.to_other->send(lane_message::end, {1, 2, 3}, std::string(2000, 'x'));
  pair.one.peers.forget(pair.other.life);
  pair.one.peers.watch(clock::now());
  BOOST_TEST(pair.one.ends.size() == 1u);
  BOOST_TEST(pair.to_other->endpoint == nullptr);
  BOOST_REQUIRE(pair.settles(2));
  BOOST_TEST((pair.other.ids.front() == lane_message::end));
  BOOST_TEST((pair.other.ids.back() == lane_message::bye));
}

BOOST_AUTO_TEST_CASE(a_forgotten_peer_may_end_what_is_under_way_but_not_for_ever) {
  link_pair pair{"posix,cma,self"};
  auto& peers = pair.one.peers;
  BOOST_REQUIRE(peers.connect(pair.to_other));
  pair.to_other->pulls = 1;
  const auto now = clock::now();
  peers.forget(pair.other.life);
  peers.watch(now + ucx_peers::forget_grace / 2);
  BOOST_TEST(pair.one.ends.empty());
  peers.watch(now + 2 * ucx_peers::forget_grace);
  BOOST_REQUIRE(pair.one.ends.size() == 1u);
  BOOST_TEST(pair.one.ends.front() == "the peer was given up");
  BOOST_TEST(peers.find(pair.other.life) == nullptr);
}

BOOST_AUTO_TEST_CASE(an_endpoint_made_ahead_stays_until_its_peer_has_closed_its_own) {
  link_pair pair{"posix,cma,self", ucx_connecting::ahead};
  auto& peers = pair.one.peers;
  BOOST_REQUIRE(pair.to_other->endpoint);
  BOOST_REQUIRE(pair.to_one->endpoint);
  pair.to_other->send(lane_message::end, {1, 2, 3});
  peers.forget(pair.other.life);
  const auto now = clock::now();
  peers.watch(now);
  BOOST_TEST(pair.one.ends.size() == 1u);
  pair.one.worker.progress();
  peers.watch(now + ucx_peers::answer_wait / 2);
  BOOST_TEST(peers.is_watching());
  BOOST_REQUIRE(pair.settles(2));
  BOOST_TEST((pair.one.ids.back() == lane_message::bye));
  BOOST_TEST(pair.other.ends.front() == "the peer closed the link");
  BOOST_TEST(pair.to_one->endpoint != nullptr);
}

BOOST_DATA_TEST_CASE(a_peer_that_shut_down_is_not_connected_again, data::make(transports)) {
  const bool ahead = sample != "tcp";
  link_pair pair{sample, ahead ? ucx_connecting::ahead : ucx_connecting::on_demand};
  BOOST_REQUIRE(pair.one.peers.connect(pair.to_other));
  BOOST_REQUIRE(pair.other.peers.connect(pair.to_one));
  pair.one.peers.leave_all();
  BOOST_REQUIRE(pair.settles(1));
  BOOST_REQUIRE(pair.other.ends.size() == 1u);
  BOOST_TEST(pair.other.ends.front() == "the peer closed the link");
  pair.other.peers.watch(clock::now() + 1min);
  BOOST_TEST(!pair.other.peers.is_watching());
  BOOST_TEST(pair.to_one->endpoint == nullptr);
  BOOST_TEST(pair.other.ids.size() == 1u);
  const auto again = pair.other.peers.connect(pair.to_one);
  BOOST_TEST((!again && again.error().code == errc::peer_lost));
}

BOOST_AUTO_TEST_CASE(a_stuck_peer_is_connected_again_when_it_has_answered_or_is_introduced) {
  for (const bool introduced : {true, false}) {
    link_pair pair{"posix,cma,self", ucx_connecting::ahead};
    auto& peers = pair.one.peers;
    const auto first = pair.to_other->link;
    pair.to_other->expected = 1;
    auto now = clock::now();
    for (const auto end = now + 2500ms; now < end; now += ucx_peers::look_again)
      peers.watch(now);
    BOOST_REQUIRE(pair.one.ends.size() == 1u);
    pair.to_other->expected = 0;
    const auto early = peers.connect(pair.to_other);
    BOOST_TEST((!early && early.error().code == errc::peer_lost));
    if (introduced)
      pair.one.add(pair.other);
    else
      BOOST_REQUIRE(pair.settles(1));
    BOOST_TEST(peers.connect(pair.to_other).has_value());
    BOOST_TEST(pair.to_other->link > first);
  }
}

BOOST_AUTO_TEST_CASE(an_endpoint_made_ahead_is_not_kept_for_ever) {
  link_pair pair{"posix,cma,self", ucx_connecting::ahead};
  pair.one.peers.forget(pair.other.life);
  const auto now = clock::now();
  pair.one.peers.watch(now);
  BOOST_TEST(pair.one.peers.is_watching());
  pair.one.peers.watch(now + 2 * ucx_peers::answer_wait);
  BOOST_TEST(!pair.one.peers.is_watching());
}

BOOST_AUTO_TEST_CASE(an_endpoint_made_ahead_is_not_kept_for_chunks_that_a_reader_leaves) {
  link_pair pair{"posix,cma,self", ucx_connecting::ahead};
  pair.to_other->send(lane_message::end, {1, 2, 3});
  pair.to_other->staged = 1;
  pair.one.peers.forget(pair.other.life);
  const auto now = clock::now();
  pair.one.peers.watch(now);
  pair.one.peers.watch(now + 2 * ucx_peers::last_words);
  BOOST_TEST(!pair.one.peers.is_watching());
}

BOOST_AUTO_TEST_CASE(calls_by_a_link_that_is_closed_are_refused) {
  link_pair pair{"posix,cma,self"};
  pair.other.hear_bye(pair.one, 7, 0);
  const auto late = pair.other.peers.meet(pair.to_one, 7);
  BOOST_TEST((!late && late.error().code == errc::peer_lost));
  BOOST_TEST(pair.other.peers.meet(pair.to_one, 8).has_value());
}

BOOST_AUTO_TEST_CASE(a_stuck_reader_is_dropped_sooner_than_a_stuck_owner) {
  for (const bool reads : {true, false}) {
    link_pair pair{"posix,cma,self"};
    auto& peers = pair.one.peers;
    BOOST_REQUIRE(peers.connect(pair.to_other));
    (reads ? pair.to_other->staged : pair.to_other->expected) = 1;
    BOOST_TEST(peers.is_watching());
    auto now = clock::now();
    const auto look_until = [&](std::chrono::milliseconds passed) {
      for (const auto end = now + passed; now < end; now += ucx_peers::look_again)
        peers.watch(now);
    };
    look_until(reads ? 900ms : 1900ms);
    BOOST_TEST(pair.one.ends.empty());
    ++(reads ? pair.to_other->left : pair.to_other->heard);
    look_until(reads ? 900ms : 1900ms);
    BOOST_TEST(pair.one.ends.empty());
    look_until(300ms);
    BOOST_REQUIRE(pair.one.ends.size() == 1u);
    BOOST_TEST(pair.one.ends.front() ==
               (reads ? "the peer took nothing for 1000 ms: it is stopped, overloaded or cut off"
                      : "the peer sent nothing for 2000 ms: it is stopped, overloaded or cut off"));
    BOOST_TEST(pair.to_other->endpoint == nullptr);
  }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
