#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fleet.hpp"

using namespace baton;
using namespace baton::test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t members = 8;
constexpr std::uint32_t at_once = 3; ///< requests in flight with each member
constexpr std::uint32_t blocks = 8;  ///< of a request
constexpr std::uint32_t tokens = 4 * blocks;
constexpr auto patience = 20s;

/// One rank in this process, and instances in processes of their own that come and go while
/// requests are in flight between it and all of them. Every block is checked, and whatever is not
/// one of a request under way must be clean.
class crowd {
public:
  crowd(instance_role home, lane_policy lanes)
      : home_role_{home}, lanes_{lanes}, home_{fleet_layout(home, "home"), "", {}, plane(lanes)} {
    for (std::uint32_t block = 0; block < members * at_once * blocks; ++block)
      home_.fill(block, clean);
    for (std::size_t i = 0; i < members; ++i)
      members_.emplace_back(other_role(), fmt::format("other-{}", i), lanes);
  }

  void join(std::size_t i) { members_[i].start(NODE_PEER); }

  /// Takes a member away, whatever is in flight with it. That may fail from now on.
  void kill(std::size_t i) {
    doom(i);
    members_[i].kill();
  }
  void leave(std::size_t i) {
    doom(i);
    members_[i].leave();
  }
  void rename(std::size_t i, const std::string& name) { members_[i].move(name); }

  /// Keeps requests in flight with all members that run until so many more have completed.
  void run(std::size_t completions) {
    const auto goal = completed_ + completions;
    const auto until = std::chrono::steady_clock::now() + patience;
    while (completed_ < goal && std::chrono::steady_clock::now() < until) {
      for (std::size_t i = 0; i < members; ++i)
        for (std::uint32_t k = 0; k < at_once && members_[i].runs(); ++k)
          if (!busy_[{i, k}])
            begin(i, k);
      look();
    }
    BOOST_REQUIRE(completed_ >= goal);
  }

  /// Waits until nothing is in flight.
  void drain() {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!flights_.empty() && std::chrono::steady_clock::now() < until)
      look();
    BOOST_TEST(flights_.empty());
  }

  /// Returns what the rank costs without a peer, once nothing of earlier ones is being let go of.
  peer_costs costs_alone() {
    constexpr auto at_rest = 700ms; // longer than a forgotten peer may take
    const auto until = std::chrono::steady_clock::now() + patience;
    auto last = measure_peers();
    for (bool rested = false; !rested && std::chrono::steady_clock::now() < until;) {
      std::this_thread::sleep_for(at_rest);
      const auto now = measure_peers();
      rested = now == last && links() == 0;
      last = now;
    }
    return last;
  }

  /// Waits until the rank has nothing left of any request or peer. It may have less than before:
  /// UCX lets go of a dead peer's memory when it likes.
  void await_alone(const peer_costs& before) {
    const auto until = std::chrono::steady_clock::now() + patience;
    const auto alone = [&] {
      const auto now = measure_peers();
      return home_.door().stats().links == 0 && left_in(home_) == "nothing" &&
             now.descriptors <= before.descriptors && now.mappings <= before.mappings;
    };
    while (!alone() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(5ms);
    BOOST_TEST(home_.door().stats().links == 0u);
    BOOST_TEST(left_in(home_) == "nothing");
    BOOST_TEST(measure_peers().descriptors <= before.descriptors);
    BOOST_TEST(measure_peers().mappings <= before.mappings);
  }

  [[nodiscard]] std::size_t links() { return home_.door().stats().links; }
  [[nodiscard]] bool serves() const noexcept { return home_role_ == instance_role::context; }

private:
  struct flight {
    std::size_t member = 0;
    std::uint32_t lane = 0;
    std::uint8_t byte = 0;
    bool doomed = false;
    std::string at_home; ///< how it ended, empty: not yet
    std::string there;
  };

  static constexpr std::uint8_t clean = 0xEE;

  static plane_options plane(lane_policy lanes) {
    plane_options options;
    options.lanes = lanes;
    return options;
  }

  [[nodiscard]] instance_role other_role() const noexcept {
    return serves() ? instance_role::generation : instance_role::context;
  }
  static std::uint32_t home_block(const flight& one) {
    return static_cast<std::uint32_t>((one.member * at_once + one.lane) * blocks);
  }
  static std::uint32_t block_there(const flight& one) { return one.lane * blocks; }

  void begin(std::size_t member, std::uint32_t lane) {
    const auto id = ++last_id_;
    flight one{member, lane, static_cast<std::uint8_t>(id * 37), false, "", ""};
    auto& other = members_[member];
    if (serves()) {
      BOOST_REQUIRE(offer(home_, id, home_block(one), tokens, one.byte));
      const auto answer = other.ask(fmt::format("receive {} {} {} {}", id,
                                                home_.door().get_disaggregated_params().endpoint,
                                                block_there(one), tokens));
      BOOST_REQUIRE(answer == "ok");
    } else {
      const auto answer = other.ask(
          fmt::format("offer {} {} {} {}", id, block_there(one), tokens, unsigned{one.byte}));
      BOOST_REQUIRE(answer == "ok");
      BOOST_REQUIRE(home_.door().request_and_receive_async(
          wish_for(id, other.endpoint(), home_block(one), tokens)));
    }
    busy_[{member, lane}] = true;
    flights_.emplace(id, one);
  }

  void doom(std::size_t member) {
    for (auto& [id, one] : flights_)
      if (one.member == member) {
        one.doomed = true;
        one.there = "gone";
      }
  }

  void look() {
    const auto ended = serves() ? home_.door().check_context_transfer_status(0)
                                : home_.door().check_gen_transfer_status(0);
    for (const auto& one : ended)
      flights_.at(one.request.value).at_home = ending_of(one);
    for (auto& member : members_)
      if (member.runs())
        hear(member.ask("ended"));
    std::erase_if(flights_, [&](auto& entry) {
      const bool over = !entry.second.at_home.empty() && !entry.second.there.empty();
      if (over)
        finish(entry.first, entry.second);
      return over;
    });
    if (ended.empty())
      std::this_thread::sleep_for(1ms);
  }

  void hear(const std::string& list) {
    std::istringstream words{list};
    for (std::string word; words >> word;) {
      const auto colon = word.find(':');
      // A restarted member knows nothing of what its earlier life had.
      flights_.at(std::stoull(word.substr(0, colon))).there = word.substr(colon + 1);
    }
  }

  void finish(std::uint64_t id, const flight& one) {
    BOOST_TEST_CONTEXT("request " << id << " with " << one.member << ": " << one.at_home << ", "
                                  << one.there) {
      const bool good = one.at_home == "complete" && (one.doomed || one.there == "complete");
      BOOST_TEST((good || one.doomed));
      BOOST_TEST((good || one.at_home == "peer_lost" || one.at_home == "shutting_down"));
      if (good && !serves())
        for (std::uint32_t i = 0; i < blocks; ++i)
          BOOST_TEST(home_.holds(home_block(one) + i, static_cast<std::uint8_t>(one.byte + i)));
      if (good && serves() && !one.doomed)
        BOOST_TEST(members_[one.member].ask(fmt::format("holds {} {} {}", block_there(one), blocks,
                                                        unsigned{one.byte})) == "yes");
      completed_ += good ? 1 : 0;
    }
    for (std::uint32_t i = 0; i < blocks; ++i)
      home_.fill(home_block(one) + i, clean);
    busy_[{one.member, one.lane}] = false;
  }

  instance_role home_role_;
  lane_policy lanes_;
  node home_;
  std::vector<fleet_member> members_;
  std::map<std::uint64_t, flight> flights_;
  std::map<std::pair<std::size_t, std::uint32_t>, bool> busy_;
  std::uint64_t last_id_ = 0;
  std::size_t completed_ = 0;
};

const std::vector<std::string> homes{"context", "generation"};
const std::vector<std::string> lanes{"auto", "ucx"};

} // namespace

BOOST_AUTO_TEST_SUITE(many_instances)

BOOST_DATA_TEST_CASE(they_join_leave_and_return_while_one_rank_works_with_all,
                     boost::unit_test::data::make(homes) * boost::unit_test::data::make(lanes),
                     home, lane) {
  crowd world{home == "context" ? instance_role::context : instance_role::generation,
              lane == "ucx" ? lane_policy::ucx : lane_policy::automatic};
  // What is made once, for the first peer, is no cost of a peer.
  world.join(0);
  world.run(10);
  world.leave(0);
  world.drain();
  const auto before = world.costs_alone();

  for (std::size_t i = 0; i < members; ++i)
    world.join(i);
  world.run(100);
  BOOST_TEST(world.links() == members);
  world.kill(2);
  world.run(20);
  world.join(2); // a new incarnation in its place
  world.leave(5);
  world.run(60);
  world.join(5);
  world.kill(0);
  world.rename(0, "newcomer");
  world.join(0);
  world.run(100);
  BOOST_TEST(world.links() == members);

  for (std::size_t i = 0; i < members; ++i)
    i % 2 == 0 ? world.kill(i) : world.leave(i);
  world.drain();
  world.await_alone(before);
}

BOOST_AUTO_TEST_SUITE_END()
