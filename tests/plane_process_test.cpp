#include <atomic>
#include <csignal>
#include <sstream>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "tests/support/plane_process.hpp"

namespace baton {

namespace {

using namespace test;
namespace data = boost::unit_test::data;

constexpr std::uint32_t slots = 64;

/// "mapped", or the transports of the ucx lane.
const std::vector<std::string> lanes{"mapped", "posix,cma,self", "tcp"};

process_options options_for(const std::string& lane, instance_role role) {
  process_options options;
  options.role = role;
  options.shape = {.layers = 8, .slots = slots};
  options.plane.leases = 256;
  options.plane.lanes = lane == "mapped" ? lane_policy::mapped : lane_policy::ucx;
  options.plane.ucx_transports = lane == "mapped" ? "" : lane;
  options.plane.tcp_devices = lane == "tcp" ? "lo" : "";
  return options;
}

/// A rank here and one of the other role in another process, introduced to each other.
struct couple {
  explicit couple(const std::string& lane, instance_role ours)
      : here{options_for(lane, ours).shape, ours, options_for(lane, ours).plane},
        there{PLANE_PEER, options_for(lane, other(ours))} {
    here.fill(1);
    meet(there);
  }

  static instance_role other(instance_role role) {
    return role == instance_role::context ? instance_role::generation : instance_role::context;
  }

  void meet(plane_process& peer) const {
    const auto layout = cache_layout(here.shape, other(here.layout.role), peer.life());
    BOOST_REQUIRE(introduce(*here.plane, card_of(here.layout, layout, peer.manifest())));
    const auto answer =
        peer.ask(fmt::format("peer {} {}", here.life().value, to_hex(here.plane->manifest())));
    BOOST_REQUIRE_MESSAGE(answer.starts_with("ok"), answer);
  }

  /// Begins a pull of all blocks from the other process.
  void pull_all(session_key session, std::function<void(expected<pull_stats>)> done) {
    const auto all = shuffled(slots, slots, 1);
    lease right{there.life(), 0, 0};
    std::istringstream answer{there.ask(sentence("grant", all))};
    answer >> right.slot >> right.epoch;
    here.plane->pull(session, job_for(right, whole_blocks(here.shape, here.life(), all), all),
                     std::move(done));
  }

  /// Lets the other process pull all our blocks, over and over.
  static void let_pull(const plane_rank& owner, session_key session, plane_process& reader) {
    const auto all = shuffled(slots, slots, 1);
    const auto right = owner.plane->grant(session, whole_blocks(owner.shape, reader.life(), all));
    BOOST_REQUIRE(right);
    BOOST_REQUIRE(reader.ask(sentence(fmt::format("pull {} {}", right->slot, right->epoch), all)) ==
                  "ok");
  }

  plane_rank here;
  plane_process there;
};

} // namespace

BOOST_AUTO_TEST_SUITE(plane_processes)

BOOST_DATA_TEST_CASE(bytes_arrive_from_another_process, data::make(lanes)) {
  couple ranks{sample, instance_role::generation};
  ranks.here.fill(2);
  eventually<expected<pull_stats>> ended;
  ranks.pull_all(receiver, ended.callback());
  const auto result = ended.get();
  BOOST_REQUIRE(result);
  BOOST_REQUIRE_MESSAGE(*result, to_string(*result ? error{} : result->error()));
  for (std::uint32_t slot = 0; slot < slots; ++slot)
    BOOST_REQUIRE(ranks.here.holds(slot, slot, 1));
}

BOOST_DATA_TEST_CASE(a_killed_owner_is_lost_or_its_memory_outlives_it, data::make(lanes)) {
  couple ranks{sample, instance_role::generation};
  std::vector<eventually<expected<pull_stats>>> ended(6);
  for (auto& one : ended)
    ranks.pull_all(receiver, one.callback());
  ranks.there.signal(SIGKILL);
  for (auto& one : ended) {
    const auto result = one.get(std::chrono::seconds{5});
    BOOST_REQUIRE(result);
    BOOST_TEST((*result || result->error().code == errc::peer_lost));
  }
  BOOST_TEST(retired(*ranks.here.plane, receiver, std::chrono::seconds{1}));
  ranks.here.plane->forget(ranks.there.life());
}

BOOST_DATA_TEST_CASE(a_stopped_owner_holds_up_neither_retirement_nor_others, data::make(lanes)) {
  couple ranks{sample, instance_role::generation};
  std::atomic<int> ended{0};
  for (int i = 0; i < 4; ++i)
    ranks.pull_all(receiver, [&](const expected<pull_stats>&) { ++ended; });
  ranks.there.signal(SIGSTOP);
  BOOST_TEST(retired(*ranks.here.plane, receiver, std::chrono::seconds{1}));
  BOOST_TEST(ended == 4);

  plane_process healthy{PLANE_PEER, options_for(sample, instance_role::context)};
  ranks.meet(healthy);
  const auto all = shuffled(slots, slots, 1);
  lease right{healthy.life(), 0, 0};
  std::istringstream answer{healthy.ask(sentence("grant", all))};
  answer >> right.slot >> right.epoch;
  eventually<expected<pull_stats>> good;
  ranks.here.plane->pull(
      session_key{5}, job_for(right, whole_blocks(ranks.here.shape, ranks.here.life(), all), all),
      good.callback());
  const auto result = good.get();
  BOOST_TEST((result && *result));
}

BOOST_DATA_TEST_CASE(a_stopped_or_killed_reader_does_not_hold_up_the_owner,
                     data::make(lanes) * data::make({SIGSTOP, SIGKILL}), lane, signal) {
  couple ranks{lane, instance_role::context};
  couple::let_pull(ranks.here, sender, ranks.there);
  ranks.there.signal(signal);
  BOOST_TEST(retired(*ranks.here.plane, sender, std::chrono::seconds{1}));
  BOOST_TEST(ranks.here.plane->granted() == 0u);

  plane_process healthy{PLANE_PEER, options_for(lane, instance_role::generation)};
  ranks.meet(healthy);
  couple::let_pull(ranks.here, session_key{3}, healthy);
  BOOST_TEST(retired(*ranks.here.plane, session_key{3}, std::chrono::seconds{1}));
}

BOOST_DATA_TEST_CASE(a_rank_is_destroyed_in_bounded_time_while_its_peer_is_stopped,
                     data::make(lanes)) {
  couple ranks{sample, instance_role::generation};
  std::atomic<int> ended{0};
  for (int i = 0; i < 4; ++i)
    ranks.pull_all(receiver, [&](const expected<pull_stats>&) { ++ended; });
  ranks.there.signal(SIGSTOP);
  const auto begin = std::chrono::steady_clock::now();
  ranks.here.plane.reset();
  BOOST_TEST((std::chrono::steady_clock::now() - begin < std::chrono::seconds{2}));
  BOOST_TEST(ended == 4);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
