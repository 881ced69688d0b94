#include <atomic>
#include <csignal>
#include <ctime>
#include <sstream>
#include <thread>
#include <utility>

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
const std::vector<std::string> ucx_transports{"posix,cma,self", "tcp"};

process_options options_for(const std::string& lane, instance_role role) {
  process_options options;
  options.role = role;
  options.shape = {.layers = 8, .slots = slots};
  options.plane.leases = 256;
  options.plane.lanes = lane == "mapped" ? lane_policy::mapped : lane_policy::ucx;
  options.plane.ucx_transports = lane == "mapped" ? "" : lane;
  options.plane.tcp_devices = lane == "tcp" ? "lo" : "";
  // Less patience than the other process has, which keeps the default.
  options.plane.ucx_stuck_after = std::chrono::milliseconds{300};
  return options;
}

std::chrono::milliseconds used_processor_time() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return std::chrono::milliseconds{used.tv_sec * 1000 + used.tv_nsec / 1'000'000};
}

/// A rank here and one of the other role in another process, introduced to each other.
struct couple {
  couple(const std::string& lane, instance_role ours) : couple{options_for(lane, ours)} {}
  explicit couple(process_options ours)
      : here{ours.shape, ours.role, ours.plane}, there{PLANE_PEER, theirs(ours)} {
    here.fill(1);
    meet(there);
  }

  static process_options theirs(process_options ours) {
    ours.role = other(ours.role);
    return ours;
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

  /// Lets the other process grant all its blocks.
  lease grant_all() {
    lease right{there.life(), 0, 0};
    std::istringstream answer{there.ask(sentence("grant", shuffled(slots, slots, 1)))};
    answer >> right.slot >> right.epoch;
    return right;
  }

  /// Begins a pull of all blocks from the other process.
  void pull_all(session_key session, std::function<void(expected<pull_stats>)> done) {
    pull_all(session, grant_all(), std::move(done));
  }
  void pull_all(session_key session, const lease& right,
                std::function<void(expected<pull_stats>)> done) const {
    const auto all = shuffled(slots, slots, 1);
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

/// Far longer than what is waited for takes.
constexpr std::chrono::milliseconds a_moment{150};
constexpr std::chrono::milliseconds until_forgotten{1'000};

/// Introduces an owner and a reader that both are processes of their own.
void introduce_each_other(plane_process& owner, plane_process& reader) {
  for (const auto& [one, other] : {std::pair{&owner, &reader}, {&reader, &owner}}) {
    const auto answer =
        one->ask(fmt::format("peer {} {}", other->life().value, to_hex(other->manifest())));
    BOOST_REQUIRE_MESSAGE(answer.starts_with("ok"), answer);
  }
}

std::string pull_of(const lease& right) {
  return sentence(fmt::format("pull {} {}", right.slot, right.epoch), shuffled(slots, slots, 1));
}

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

BOOST_DATA_TEST_CASE(an_owner_that_died_before_anything_was_sent_is_lost,
                     data::make(ucx_transports)) {
  couple ranks{sample, instance_role::generation};
  const auto right = ranks.grant_all();
  eventually<expected<pull_stats>> before;
  eventually<expected<pull_stats>> after;
  ranks.pull_all(receiver, right, before.callback());
  ranks.there.signal(SIGKILL);
  ranks.pull_all(receiver, right, after.callback());
  for (auto* one : {&before, &after}) {
    const auto result = one->get(std::chrono::seconds{5});
    BOOST_REQUIRE(result);
    BOOST_TEST((*result || result->error().code == errc::peer_lost));
  }
}

BOOST_DATA_TEST_CASE(a_stopped_owner_is_given_up_and_can_be_read_again_when_it_goes_on,
                     data::make(ucx_transports)) {
  couple ranks{sample, instance_role::generation};
  eventually<expected<pull_stats>> first;
  ranks.pull_all(receiver, first.callback());
  const auto warm = first.get();
  BOOST_REQUIRE((warm && *warm));
  const auto right = ranks.grant_all();
  for (int round = 0; round < 3; ++round) {
    ranks.there.signal(SIGSTOP);
    eventually<expected<pull_stats>> stopped;
    ranks.pull_all(receiver, right, stopped.callback());
    const auto lost = stopped.get(std::chrono::seconds{5});
    BOOST_REQUIRE((lost && !*lost));
    BOOST_TEST(to_string(lost->error().code) == "peer_lost");
    BOOST_TEST(lost->error().text ==
               "the peer sent nothing for 600 ms: it is stopped, overloaded or cut off");
    ranks.there.signal(SIGCONT);
    ranks.here.fill(2);
    eventually<expected<pull_stats>> again;
    ranks.pull_all(receiver, right, again.callback());
    const auto result = again.get();
    BOOST_REQUIRE(result);
    BOOST_REQUIRE_MESSAGE(*result, to_string(*result ? error{} : result->error()));
    for (std::uint32_t slot = 0; slot < slots; ++slot)
      BOOST_REQUIRE(ranks.here.holds(slot, slot, 1));
  }
}

BOOST_DATA_TEST_CASE(a_forgotten_owner_ends_its_pulls, data::make(ucx_transports)) {
  couple ranks{sample, instance_role::generation};
  const auto right = ranks.grant_all();
  ranks.there.signal(SIGSTOP);
  eventually<expected<pull_stats>> ended;
  ranks.pull_all(receiver, right, ended.callback());
  ranks.here.plane->forget(ranks.there.life());
  const auto result = ended.get(std::chrono::seconds{3});
  BOOST_REQUIRE((result && !*result));
  BOOST_TEST(to_string(result->error().code) == "peer_lost");
}

BOOST_DATA_TEST_CASE(stopped_readers_do_not_keep_the_ring, data::make(ucx_transports)) {
  auto options = options_for(sample, instance_role::context);
  options.plane.ring_chunks = 4;
  couple ranks{options};
  plane_process second{PLANE_PEER, options_for(sample, instance_role::generation)};
  ranks.meet(second);
  for (int i = 0; i < 3; ++i)
    for (auto* reader : {&ranks.there, &second})
      couple::let_pull(ranks.here, sender, *reader);
  for (auto* reader : {&ranks.there, &second})
    reader->signal(SIGSTOP);

  auto wanted = options_for(sample, instance_role::generation);
  wanted.plane.ucx_stuck_after = std::chrono::seconds{20};
  const plane_rank healthy{wanted.shape, wanted.role, wanted.plane};
  const auto& owner = ranks.here;
  BOOST_REQUIRE(
      introduce(*healthy.plane, card_of(healthy.layout, owner.layout, owner.plane->manifest())));
  BOOST_REQUIRE(
      introduce(*owner.plane, card_of(owner.layout, healthy.layout, healthy.plane->manifest())));
  const auto all = shuffled(slots, slots, 1);
  const auto spec = whole_blocks(owner.shape, healthy.life(), all);
  const auto right = owner.plane->grant(session_key{3}, spec).value();
  eventually<expected<pull_stats>> ended;
  healthy.plane->pull(receiver, job_for(right, spec, all), ended.callback());
  const auto result = ended.get(std::chrono::seconds{5});
  BOOST_REQUIRE(result);
  BOOST_TEST_MESSAGE((*result ? "served" : result->error().text));
  BOOST_TEST(result->has_value());
}

BOOST_DATA_TEST_CASE(a_reader_that_dies_while_it_connects_leaves_the_owner_unharmed,
                     data::make(ucx_transports)) {
  couple ranks{sample, instance_role::generation};
  auto& owner = ranks.there;
  plane_process reader{PLANE_PEER, options_for(sample, instance_role::generation)};
  introduce_each_other(owner, reader);
  const auto right = ranks.grant_all();
  owner.signal(SIGSTOP);
  std::this_thread::sleep_for(a_moment);
  BOOST_REQUIRE(reader.ask(pull_of(right)) == "ok");
  std::this_thread::sleep_for(a_moment); // it has connected, and said so
  reader.end();
  owner.signal(SIGCONT);
  ranks.meet(owner);
  eventually<expected<pull_stats>> ended;
  ranks.pull_all(receiver, ended.callback());
  const auto result = ended.get(std::chrono::seconds{5});
  BOOST_REQUIRE(result);
  BOOST_TEST(result->has_value());
}

BOOST_DATA_TEST_CASE(an_owner_that_dies_while_it_connects_leaves_the_reader_unharmed,
                     data::make(ucx_transports) * data::make({false, true}), lane, forgotten) {
  couple ranks{lane, instance_role::context};
  auto& reader = ranks.there;
  plane_process owner{PLANE_PEER, options_for(lane, instance_role::context)};
  introduce_each_other(owner, reader);
  lease right{owner.life(), 0, 0};
  std::istringstream answer{owner.ask(sentence("grant", shuffled(slots, slots, 1)))};
  answer >> right.slot >> right.epoch;
  owner.signal(SIGSTOP);
  std::this_thread::sleep_for(a_moment);
  BOOST_REQUIRE(reader.ask(pull_of(right)) == "ok");
  std::this_thread::sleep_for(a_moment);
  if (forgotten) {
    BOOST_REQUIRE(reader.ask("forget") == "ok");
    std::this_thread::sleep_for(until_forgotten);
  }
  reader.signal(SIGSTOP);
  std::this_thread::sleep_for(a_moment);
  owner.signal(SIGCONT);
  std::this_thread::sleep_for(a_moment); // it has connected back, and begun to send
  owner.end();
  reader.signal(SIGCONT);
  ranks.meet(reader);
  couple::let_pull(ranks.here, sender, reader);
  std::this_thread::sleep_for(a_moment);
  BOOST_TEST(reader.ask("revoke_all") == "ok");
}

BOOST_DATA_TEST_CASE(a_stopped_peer_costs_no_processor_time,
                     data::make(ucx_transports) * data::make({true, false}), lane, reads) {
  auto options = options_for(lane, reads ? instance_role::context : instance_role::generation);
  options.plane.ucx_stuck_after = std::chrono::seconds{20};
  couple ranks{options};
  if (reads) {
    for (int i = 0; i < 3; ++i)
      couple::let_pull(ranks.here, sender, ranks.there);
  } else {
    const auto right = ranks.grant_all();
    for (int i = 0; i < 4; ++i)
      ranks.pull_all(receiver, right, [](const expected<pull_stats>&) {});
  }
  ranks.there.signal(SIGSTOP);
  // What had been under way comes to rest.
  std::this_thread::sleep_for(std::chrono::milliseconds{200});
  const auto before = used_processor_time();
  std::this_thread::sleep_for(std::chrono::milliseconds{1000});
  BOOST_TEST((used_processor_time() - before).count() < 100);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
