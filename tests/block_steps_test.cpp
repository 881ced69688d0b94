// How pulls and offers of blocks go on, step by step, without actors or a data plane.
#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <tuple>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "actors/block_exchange.hpp"
#include "messages/params.hpp"
#include "tests/sample_layout.hpp"
#include "tests/support/layouts.hpp"
#include "transport/plan/direct_pair.hpp"

namespace baton {

namespace {

using namespace std::chrono_literals;
using test::sample_info;
using test::sample_shape;

/// Remembers what the exchange wants; tests answer for the world.
struct world : exchange_backend {
  void describe_owner(const std::string& endpoint, bool again) override {
    asked.push_back(endpoint + (again ? " again" : ""));
  }
  std::optional<lane_kind> link_to(const source_contact& peer) override {
    contacts.push_back(peer);
    return up;
  }
  session_key new_key() override { return session_key{++last_key}; }
  expected<lease> grant(session_key key, grant_spec spec) override {
    if (no_leases)
      return fail(errc::out_of_resources, "all leases are in use");
    granted.emplace(key, std::move(spec));
    return lease{incarnation{1000}, 0, 7};
  }
  void pull(session_key key, pull_job job) override { pulls.emplace_back(key, std::move(job)); }
  void retire(session_key key) override {
    granted.erase(key);
    retired.push_back(key);
  }
  void answer_pull(std::uint64_t, block_outcome result) override {
    outcomes.push_back(std::move(result));
  }
  void answer_safe(std::uint64_t caller) override { safe.push_back(caller); }

  std::optional<lane_kind> up;
  bool no_leases = false;
  std::uint64_t last_key = 0;
  std::vector<std::string> asked;
  std::vector<source_contact> contacts;
  std::map<session_key, grant_spec> granted;
  std::vector<std::pair<session_key, pull_job>> pulls;
  std::vector<session_key> retired;
  std::vector<block_outcome> outcomes;
  std::vector<std::uint64_t> safe;
};

/// An owner's instance, and a reader of another one of the same role.
struct two_ranks {
  two_ranks() {
    for (auto& rank : theirs.ranks)
      rank.layout.instance = "owner";
    for (auto& rank : ours.ranks) {
      rank.layout.instance = "reader";
      rank.layout.life = incarnation{5};
    }
    owner.enlisted("o:1");
  }

  /// The bytes of an offer of tokens 0 to 8.
  std::string offered() {
    return owner.offer(now, {{{"full", {0, 8}, {}, {}}}, {{"full", 0, {3, 4}, {}}}, 10s})
        .value()
        .bytes;
  }
  void pull(const std::string& bytes, std::chrono::milliseconds timeout = 1s) {
    reader.pull(now, {bytes, {{"full", 0, {1, 2}, {}}}, timeout, {}}, 1);
  }
  void know_own() { reader.complete(std::make_shared<const own_instance>(ours, 0)); }
  /// The data plane ends what was retired.
  void retire_all() {
    for (const auto key : std::exchange(seen.retired, {}))
      reader.retired(now, key);
  }
  error failure() {
    retire_all();
    BOOST_TEST_REQUIRE(seen.outcomes.size() == 1u);
    BOOST_REQUIRE(seen.outcomes.front().failure.has_value());
    BOOST_TEST(reader.pulls() == 0u);
    return *seen.outcomes.front().failure;
  }

  time_point now{1h};
  instance_info theirs = sample_info({});
  instance_info ours = sample_info({});
  world offering;
  world seen;
  block_exchange owner{theirs.ranks[0].layout, 4, offering};
  block_exchange reader{[this] {
                          auto layout = ours.ranks[0].layout;
                          layout.life = incarnation{5};
                          return layout;
                        }(),
                        4, seen};
};

bool has(const error& failure, errc code, std::string_view text) {
  BOOST_TEST_MESSAGE(to_string(failure));
  return failure.code == code && failure.text.find(text) != std::string::npos;
}

const link_up mapped_link{incarnation{1000}, {lane_kind::mapped, "test"}, {}};
const link_up ucx_link{incarnation{1000}, {lane_kind::ucx, "test"}, {}};

} // namespace

BOOST_AUTO_TEST_SUITE(block_steps)

BOOST_AUTO_TEST_CASE(pulls_of_one_owner_ask_for_it_once) {
  two_ranks it;
  const auto bytes = it.offered();
  it.pull(bytes);
  BOOST_TEST(it.seen.asked.empty()); // its own instance is not known
  it.know_own();
  it.pull(bytes);
  BOOST_TEST(it.seen.asked == std::vector<std::string>{"o:1"});
  it.reader.described("o:1", it.theirs);
  BOOST_TEST(it.seen.contacts.size() == 2u);
  BOOST_TEST(it.seen.pulls.empty());
  it.reader.handle(mapped_link);
  BOOST_TEST_REQUIRE(it.seen.pulls.size() == 2u);
  const auto& job = it.seen.pulls[0].second;
  BOOST_TEST((job.source == incarnation{1000}));
  BOOST_TEST((job.right == lease{incarnation{1000}, 0, 7}));
  BOOST_TEST((job.ranges == std::vector<group_range>{{"full", {0, 8}, {}, {}}}));
  BOOST_TEST((job.source_blocks == std::vector<group_blocks>{{"full", 0, {3, 4}, {}}}));
  for (const auto& [key, what] : it.seen.pulls)
    it.reader.pulled(it.now, key, pull_stats{64, 2, 1, {lane_kind::mapped, "test"}, {}});
  BOOST_TEST(it.seen.outcomes.empty()); // until nothing of it is written any more
  it.retire_all();
  BOOST_TEST_REQUIRE(it.seen.outcomes.size() == 2u);
  BOOST_TEST(!it.seen.outcomes[1].failure.has_value());
  BOOST_TEST(it.seen.outcomes[1].whole);
  BOOST_TEST(it.seen.outcomes[1].bytes == 64u);
  // A third one asks nobody.
  it.seen.up = lane_kind::mapped;
  it.pull(bytes);
  BOOST_TEST(it.seen.asked.size() == 1u);
  BOOST_TEST(it.seen.pulls.size() == 3u);
  it.reader.handle(link_loss{incarnation{1000}, true});
  it.pull(bytes);
  BOOST_TEST(it.seen.asked.back() == "o:1 again");
}

BOOST_AUTO_TEST_CASE(every_step_ends_at_the_deadline) {
  for (int steps = 0; steps < 5; ++steps) {
    two_ranks it;
    it.pull(it.offered());
    if (steps > 0)
      it.know_own();
    if (steps > 1)
      it.reader.described("o:1", it.theirs);
    if (steps > 2)
      it.reader.handle(ucx_link);
    if (steps > 3)
      it.reader.pulled(it.now, it.seen.pulls[0].first, fail(errc::out_of_resources, "busy"));
    it.now += 999ms;
    it.reader.sweep(it.now);
    BOOST_TEST(it.seen.outcomes.empty());
    if (steps > 3)
      it.reader.pulled(it.now, it.seen.pulls[0].first, fail(errc::out_of_resources, "busy"));
    it.now += 1ms;
    it.reader.sweep(it.now);
    constexpr std::string_view texts[] = {"own instance", "directory at o:1", "introduction",
                                          "not all blocks", "busy with other pulls"};
    BOOST_TEST(has(it.failure(), errc::timed_out, texts[steps]), steps);
  }
}

BOOST_AUTO_TEST_CASE(a_busy_owner_is_asked_again) {
  two_ranks it;
  it.know_own();
  it.pull(it.offered());
  it.reader.described("o:1", it.theirs);
  it.reader.handle(ucx_link);
  const auto key = it.seen.pulls[0].first;
  it.reader.pulled(it.now, key, fail(errc::out_of_resources, "busy"));
  it.reader.sweep(it.now);
  BOOST_TEST(it.seen.pulls.size() == 1u);
  it.now += 50ms;
  it.reader.sweep(it.now);
  BOOST_TEST_REQUIRE(it.seen.pulls.size() == 2u);
  BOOST_TEST((it.seen.pulls[1].first == key));
  it.reader.pulled(it.now, key, pull_stats{});
  it.retire_all();
  BOOST_TEST(!it.seen.outcomes.front().failure.has_value());
}

BOOST_AUTO_TEST_CASE(the_loss_of_an_owner_ends_what_cannot_go_on) {
  for (const auto lane : {lane_kind::mapped, lane_kind::ucx}) {
    two_ranks it;
    it.know_own();
    it.pull(it.offered());
    it.reader.described("o:1", it.theirs);
    it.reader.handle(link_up{incarnation{1000}, {lane, "test"}, {}});
    it.reader.handle(link_loss{incarnation{1000}, false});
    BOOST_TEST(it.seen.retired.empty());
    it.reader.handle(link_loss{incarnation{1000}, true});
    BOOST_TEST(it.seen.retired.empty() == (lane == lane_kind::mapped));
    if (lane == lane_kind::ucx)
      BOOST_TEST(has(it.failure(), errc::peer_lost, "rank 0"));
  }
  two_ranks it;
  it.know_own();
  it.pull(it.offered());
  it.reader.described("o:1", it.theirs);
  it.reader.handle(link_refused{incarnation{1000}, {errc::transport_failed, "no lane"}});
  BOOST_TEST(has(it.failure(), errc::transport_failed, "no lane"));
}

BOOST_AUTO_TEST_CASE(who_cannot_be_the_owner_is_named) {
  const auto ask = [](const std::function<void(two_ranks&)>& change) {
    two_ranks it;
    it.know_own();
    it.pull(it.offered());
    change(it);
    it.reader.described("o:1", it.theirs);
    return it.failure();
  };
  BOOST_TEST(has(ask([](two_ranks& it) { it.theirs.ranks[0].layout.life = incarnation{9}; }),
                 errc::peer_lost, "was restarted"));
  BOOST_TEST(has(ask([](two_ranks& it) { it.theirs.ranks[0].layout.model = "other"; }),
                 errc::incompatible_layout, "model"));
  BOOST_TEST(
      has(ask([](two_ranks& it) { it.theirs.ranks[0].layout.role = instance_role::generation; }),
          errc::invalid_argument, "not read by context ranks"));
  BOOST_TEST(has(ask([](two_ranks& it) {
                   auto& groups = it.theirs.ranks[0].layout.groups;
                   for (auto& group : groups)
                     for (auto& buffer : group.buffers)
                       buffer.layer += 100;
                 }),
                 errc::invalid_argument, "no heads or layers"));
}

BOOST_AUTO_TEST_CASE(a_pull_that_makes_no_sense_is_refused_at_once) {
  two_ranks it;
  it.know_own();
  const auto bytes = it.offered();
  for (int i = 0; i < 5; ++i)
    it.pull(bytes);
  BOOST_TEST_REQUIRE(it.seen.outcomes.size() == 1u);
  BOOST_TEST(has(*it.seen.outcomes[0].failure, errc::out_of_resources, "4 are in flight"));
  it.reader.end_all();
  it.retire_all();
  BOOST_TEST_REQUIRE(it.seen.outcomes.size() == 5u);
  BOOST_TEST(has(*it.seen.outcomes[4].failure, errc::shutting_down, "shutting down"));
  it.reader.refuse_new();
  it.pull(bytes);
  BOOST_TEST(has(*it.seen.outcomes[5].failure, errc::shutting_down, "shutting down"));
}

BOOST_AUTO_TEST_CASE(an_offer_stands_until_it_is_withdrawn_or_times_out) {
  two_ranks it;
  const block_offer what{{{"full", {0, 8}, {}, {}}}, {{"full", 0, {3, 4}, {}}}, 1s};
  const auto one = it.owner.offer(it.now, what);
  const auto other = it.owner.offer(it.now, what);
  BOOST_REQUIRE((one && other));
  BOOST_TEST(it.offering.granted.size() == 2u);
  it.owner.withdraw(one->id, 11);
  it.owner.withdraw(one->id, 12);
  BOOST_TEST(it.offering.granted.size() == 1u);
  BOOST_TEST(it.offering.safe.empty()); // until the data plane has let go
  BOOST_TEST_REQUIRE(it.offering.retired.size() == 1u);
  it.owner.retired(it.now, it.offering.retired[0]);
  BOOST_TEST(it.offering.safe == (std::vector<std::uint64_t>{11, 12}));
  it.owner.withdraw(one->id, 13);
  BOOST_TEST(it.offering.safe.size() == 3u);
  it.owner.sweep(it.now + 999ms);
  BOOST_TEST(it.offering.granted.size() == 1u);
  it.owner.sweep(it.now + 1s);
  BOOST_TEST(it.offering.granted.empty());
  it.owner.retired(it.now, it.offering.retired[1]);
  BOOST_TEST(it.owner.offers() == 0u);
}

BOOST_AUTO_TEST_CASE(an_offer_that_cannot_be_made_leaves_nothing) {
  two_ranks it;
  block_offer what{{{"full", {0, 8}, {}, {}}}, {{"full", 0, {3, 4}, {}}}, 1s};
  it.offering.no_leases = true;
  const auto without = it.owner.offer(it.now, what);
  BOOST_REQUIRE(!without);
  BOOST_TEST(has(without.error(), errc::out_of_resources, "leases"));
  BOOST_TEST(it.offering.retired.size() == 1u); // or the plane would remember the key for ever
  it.offering.no_leases = false;
  std::mt19937 random{1};
  what.blocks[0].blocks.clear();
  for (int i = 0; i < 100'000; ++i)
    what.blocks[0].blocks.push_back(random() % 16);
  what.ranges[0].tokens.end = 400'000;
  const auto large = it.owner.offer(it.now, what);
  BOOST_REQUIRE(!large);
  BOOST_TEST(has(large.error(), errc::out_of_resources, "fewer blocks"));
  BOOST_TEST(it.offering.granted.empty());
  it.owner.retired(it.now, it.offering.retired.back());
  BOOST_TEST(it.owner.offers() == 0u);
}

BOOST_AUTO_TEST_CASE(state_is_offered_whole) {
  two_ranks it;
  const auto refused = [&](block_offer what, std::string_view text) {
    const auto made = it.owner.offer(it.now, what);
    return !made && has(made.error(), errc::invalid_argument, text);
  };
  BOOST_TEST(it.owner.offer(it.now, {{{"state", state_slot, {}, {}}}, {{"state", 0, {3}, {}}}, 1s})
                 .has_value());
  BOOST_TEST(refused({{{"state", {0, 2}, {}, {}}}, {{"state", 0, {3}, {}}}, 1s}, "[0, 2)"));
  BOOST_TEST(refused({{{"state", {0, 2}, {}, {}}}, {{"state", 0, {2, 3}, {}}}, 1s}, "2 blocks"));
  BOOST_TEST(refused({{{"state", state_slot, {}, {0, 2}}}, {{"state", 0, {3}, {}}}, 1s}, "layers"));
  BOOST_TEST(refused({{{"full", {0, 4}, {}, {7, 9}}}, {{"full", 0, {3}, {}}}, 1s}, "[7, 9)"));
  BOOST_TEST(refused({{{"full", {0, 4}, {}, {}}}, {{"full", 2, {3}, {}}}, 1s}, "multiple"));
  BOOST_TEST(refused({{{"full", {0, 4}, {4}, {}}}, {{"full", 0, {3}, {}}}, 1s}, "with tails"));
}

BOOST_AUTO_TEST_CASE(ranks_of_one_side_meet_for_blocks_only) {
  two_ranks it;
  const own_instance us{it.ours, 0};
  const own_instance them{it.theirs, 0};
  const auto intro = them.introduce("m", "1");
  const auto met = acquaint_alike(us, intro.self);
  BOOST_REQUIRE(met.has_value());
  BOOST_TEST((met->card.pull && met->card.serve));
  BOOST_TEST(!met->receivers);
  const auto refused = [&](const introduction& words, errc code, std::string_view text) {
    const auto result = acquaint_alike(us, words.self);
    return !result && has(result.error(), code, text);
  };
  auto itself = us.introduce("m", "1");
  BOOST_TEST(refused(itself, errc::invalid_argument, "to itself"));
  auto unlike = intro;
  unlike.self.layout.role = instance_role::generation;
  BOOST_TEST(refused(unlike, errc::invalid_argument, "is none"));
  auto other = intro;
  other.self.layout.model = "other";
  BOOST_TEST(refused(other, errc::incompatible_layout, "model"));
}

BOOST_AUTO_TEST_CASE(two_ranks_share_exactly_what_both_hold) {
  using place = std::tuple<std::uint32_t, cache_role, std::uint32_t, std::uint32_t>;
  const auto heads_of = [](const rank_layout& rank) {
    std::set<place> heads;
    for (const auto& group : rank.groups)
      for (const auto& buffer : group.buffers)
        for (std::uint32_t head = 0; head < buffer.head_count; ++head)
          heads.emplace(buffer.layer, buffer.role, buffer.section, buffer.first_head + head);
    return heads;
  };
  std::mt19937_64 random{tests::seed()};
  for (int round = 0; round < 100; ++round) {
    auto given = tests::random_instances(random);
    for (auto& rank : given.generation)
      rank.role = instance_role::context;
    for (const auto& from : given.context)
      for (const auto& to : given.generation) {
        const auto pair = make_direct_pair(from, to);
        BOOST_TEST_REQUIRE(pair.has_value(), given.text);
        std::set<place> moved;
        for (const auto& part : pair->parts) {
          const auto& buffer = to.groups[part.destination_group].buffers[part.destination_buffer];
          for (std::uint32_t i = 0; i < part.head_count; ++i)
            moved.emplace(buffer.layer, buffer.role, buffer.section, part.first_head + i);
        }
        const auto here = heads_of(from);
        const auto there = heads_of(to);
        std::set<place> both;
        std::ranges::set_intersection(here, there, std::inserter(both, both.end()));
        BOOST_TEST_REQUIRE((moved == both), given.text);
      }
  }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
