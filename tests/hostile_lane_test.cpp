#include <atomic>
#include <csignal>
#include <random>
#include <sstream>
#include <thread>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "tests/support/fleet.hpp"
#include "tests/support/long_cases.hpp"
#include "tests/support/plane_process.hpp"

namespace baton {

namespace {

using namespace test;
namespace data = boost::unit_test::data;

constexpr std::uint32_t slots = 64;
constexpr std::uint32_t half = slots / 2; ///< of good ranks; what others write goes to the rest
const std::vector<std::string> lanes{"posix,cma,self", "tcp"};
const std::vector<std::string> cheats{"twice", "long", "displaced", "unasked", "done", "code"};

process_options options_for(const std::string& lane, instance_role role) {
  process_options options;
  options.role = role;
  options.shape = {.layers = 2, .slots = slots};
  options.plane.leases = 256;
  options.plane.lanes = lane_policy::ucx;
  options.plane.ucx_transports = lane;
  options.plane.tcp_devices = lane == "tcp" ? "lo" : "";
  options.plane.chunk_bytes = 4096;
  options.plane.ucx_stuck_after = std::chrono::milliseconds{300};
  return options;
}

instance_role other(instance_role role) {
  return role == instance_role::context ? instance_role::generation : instance_role::context;
}

/// A rank here, a good one of the other role beside it, and one in another process that cheats.
struct company {
  company(const std::string& lane, instance_role ours)
      : role{ours},
        here{options_for(lane, ours).shape, ours, options_for(lane, ours).plane},
        good{here.shape, other(ours), options_for(lane, ours).plane},
        hostile{HOSTILE_LANE, options_for(lane, other(ours))} {
    source().fill(1);
    sink().fill(2);
    BOOST_REQUIRE(
        introduce(*here.plane, card_of(here.layout, good.layout, good.plane->manifest())));
    BOOST_REQUIRE(
        introduce(*good.plane, card_of(good.layout, here.layout, here.plane->manifest())));
    const auto layout = cache_layout(here.shape, other(ours), hostile.life());
    BOOST_REQUIRE(introduce(*here.plane, card_of(here.layout, layout, hostile.manifest())));
    BOOST_REQUIRE(hostile.ask(fmt::format("peer {} {}", here.life().value,
                                          to_hex(here.plane->manifest()))) == "ok");
  }

  [[nodiscard]] const plane_rank& source() const {
    return role == instance_role::context ? here : good;
  }
  [[nodiscard]] const plane_rank& sink() const {
    return role == instance_role::context ? good : here;
  }

  [[nodiscard]] lease grant(session_key session, incarnation reader,
                            std::vector<std::uint32_t> blocks) const {
    return source()
        .plane->grant(session, whole_blocks(here.shape, reader, std::move(blocks)))
        .value();
  }

  /// Lets the good ranks hand half of the blocks over, and looks at each byte.
  void check_good() {
    const session_key session{++last_session};
    sink().fill(2);
    const auto blocks = shuffled(half, half, 1);
    const auto spec = whole_blocks(here.shape, sink().life(), blocks);
    const auto right = source().plane->grant(session, spec).value();
    eventually<expected<pull_stats>> ended;
    sink().plane->pull(receiver, job_for(right, spec, blocks), ended.callback());
    const auto result = ended.get();
    BOOST_REQUIRE(result);
    BOOST_REQUIRE_MESSAGE(*result, to_string(*result ? error{} : result->error()));
    for (const auto slot : blocks)
      BOOST_REQUIRE(sink().holds(slot, slot, 1));
    BOOST_TEST(retired(*source().plane, session));
  }

  /// The rank outlives the other one, and has nothing left of it.
  void check_left(const peer_costs& before) {
    hostile.end();
    BOOST_TEST(retired(*here.plane, sender, std::chrono::seconds{2}));
    here.plane->forget(hostile.life());
    BOOST_TEST(here.plane->granted() == 0u);
    check_good();
    const auto until = std::chrono::steady_clock::now() + patience;
    while (measure_peers().descriptors > before.descriptors &&
           std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    BOOST_TEST(measure_peers().descriptors <= before.descriptors);
  }

  [[nodiscard]] std::string ask(const lease& right, std::string_view group, token_range tokens,
                                std::uint64_t bytes, std::uint32_t credits = 64) {
    return hostile.ask(fmt::format("ask {} {} {} {} {} {} {} {} {}", right.owner.value, right.slot,
                                   right.epoch, group, tokens.begin, tokens.end, bytes, credits,
                                   random_number()));
  }

  instance_role role;
  plane_rank here;
  plane_rank good;
  plane_process hostile;
  std::uint64_t last_session = 100;
};

} // namespace

BOOST_AUTO_TEST_SUITE(hostile_lanes)

BOOST_DATA_TEST_CASE(a_reader_gets_the_ranges_of_its_grants_and_no_others, data::make(lanes)) {
  company ranks{sample, instance_role::context};
  ranks.check_good();
  const auto before = measure_peers();
  const auto block = ranks.here.shape.slot_bytes();
  const auto tokens = ranks.here.shape.tokens_per_block;
  const auto mine = ranks.grant(sender, ranks.hostile.life(), {3, 5});
  const auto refused = [&](const std::string& answer, errc code, std::string_view text) {
    BOOST_TEST_CONTEXT(answer) {
      BOOST_TEST(answer.starts_with(fmt::format("end {} ", static_cast<unsigned>(code))));
      BOOST_TEST((answer.find(text) != std::string::npos));
    }
  };
  // That it can ask at all.
  BOOST_TEST(ranks.ask(mine, "full", {0, 2 * tokens}, 2 * block) ==
             fmt::format("{} chunks, {} bytes", 2 * block / 4096, 2 * block));
  BOOST_TEST(ranks.ask(mine, "full", {0, tokens}, block).ends_with(fmt::format("{} bytes", block)));

  const auto invalid = errc::invalid_argument;
  refused(ranks.ask(mine, "full", {0, 3 * tokens}, 3 * block), invalid, "were not granted");
  refused(ranks.ask(mine, "full", {2 * tokens, 3 * tokens}, block), invalid, "were not granted");
  refused(ranks.ask(mine, "state", {0, 1}, block), invalid,
          "tokens [0, 1) of layers [0, ...) of group \"state\" were not granted");
  refused(ranks.ask(mine, "full", {0, tokens}, 64 * block), errc::transport_failed, "plans");

  const auto others = ranks.grant(session_key{7}, ranks.good.life(), {9});
  refused(ranks.ask(others, "full", {0, tokens}, block), invalid,
          fmt::format("was not granted to rank {}", ranks.hostile.life()));
  auto foreign = mine;
  foreign.owner = ranks.good.life();
  refused(ranks.ask(foreign, "full", {0, tokens}, block), invalid,
          fmt::format("this is rank {}", ranks.here.life()));
  for (const std::uint64_t more : {2, 4, 1000}) {
    auto later = mine;
    later.epoch += more;
    refused(ranks.ask(later, "full", {0, tokens}, block), errc::lease_revoked, "taken back");
  }
  auto elsewhere = mine;
  elsewhere.slot = ~0u;
  refused(ranks.ask(elsewhere, "full", {0, tokens}, block), errc::lease_revoked, "taken back");
  ranks.here.plane->revoke(mine);
  refused(ranks.ask(mine, "full", {0, tokens}, block), errc::lease_revoked, "taken back");

  ranks.check_good();
  BOOST_TEST(retired(*ranks.here.plane, session_key{7}));
  ranks.check_left(before);
}

BOOST_DATA_TEST_CASE(pulls_of_one_lease_are_few_at_a_time, data::make(lanes)) {
  company ranks{sample, instance_role::context};
  ranks.check_good();
  const auto before = measure_peers();
  const auto mine = ranks.grant(sender, ranks.hostile.life(), {3, 5});
  const auto answer = ranks.hostile.ask(
      fmt::format("flood {} {} {} {} {} 2000", mine.owner.value, mine.slot, mine.epoch,
                  2 * ranks.here.shape.tokens_per_block, 2 * ranks.here.shape.slot_bytes()));
  BOOST_TEST(answer.starts_with("1984 refused: "), answer);
  BOOST_TEST((answer.find("16 pulls under way of lease") != std::string::npos), answer);
  ranks.check_good();
  ranks.check_left(before);
}

BOOST_DATA_TEST_CASE(noise_harms_neither_owner_nor_reader,
                     data::make(lanes) * data::make({true, false}), lane, owns) {
  static long_cases chosen{3};
  if (chosen.left_out())
    return;
  company ranks{lane, owns ? instance_role::context : instance_role::generation};
  ranks.check_good();
  const auto before = measure_peers();
  const auto seed = std::random_device{}();
  BOOST_TEST_MESSAGE("seed " << seed);
  std::atomic<bool> over{false};
  std::thread speaker{[&] {
    BOOST_TEST(ranks.hostile.ask(fmt::format("noise {} 3000", seed)) == "ok");
    over = true;
  }};
  while (!over)
    ranks.check_good();
  speaker.join();
  ranks.check_left(before);
}

BOOST_DATA_TEST_CASE(an_owner_that_cheats_fails_its_own_pulls_only,
                     data::make(lanes) * data::make(cheats), lane, how) {
  static long_cases chosen{5};
  if (chosen.left_out())
    return;
  company ranks{lane, instance_role::generation};
  ranks.check_good();
  const auto before = measure_peers();
  BOOST_REQUIRE(ranks.hostile.ask("serve " + how) == "ok");
  for (int i = 0; i < 3; ++i) {
    const auto theirs = shuffled(half, half, 1);
    auto ours = theirs;
    for (auto& slot : ours)
      slot += half;
    const auto spec = whole_blocks(ranks.here.shape, ranks.here.life(), theirs);
    eventually<expected<pull_stats>> ended;
    ranks.here.plane->pull(receiver, job_for({ranks.hostile.life(), 0, 1}, spec, ours),
                           ended.callback());
    ranks.check_good();
    const auto result = ended.get(std::chrono::seconds{5});
    BOOST_REQUIRE(result);
    BOOST_REQUIRE(!*result);
    const auto& why = result->error();
    BOOST_TEST_MESSAGE(to_string(why));
    // Chunks ahead of their credits are noticed, or become due before they are looked at.
    const bool silent = why.code == errc::peer_lost && (how == "done" || how == "unasked");
    BOOST_TEST((silent || (why.code == errc::transport_failed && how != "done")));
    BOOST_TEST(why.text.size() < 5000u);
  }
  ranks.check_good();
  ranks.check_left(before);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
