#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "messages/manifest.hpp"
#include "tests/support/planes.hpp"

namespace baton {

namespace {

using namespace test;
namespace data = boost::unit_test::data;

const std::vector<std::string> transports{"posix,cma,self", "posix,self", "tcp"};

plane_options ucx_only(const std::string& over) {
  plane_options options;
  options.lanes = lane_policy::ucx;
  options.leases = 256;
  options.ucx_transports = over;
  if (over == "tcp")
    options.tcp_devices = "lo";
  return options;
}

} // namespace

BOOST_AUTO_TEST_SUITE(ucx_lane)

BOOST_DATA_TEST_CASE(a_pull_delivers_every_byte_and_writes_nothing_else, data::make(transports)) {
  introduced_ranks ranks{{.layers = 5, .slots = 100, .fragment_bytes = 12'288}, ucx_only(sample)};
  BOOST_TEST(to_string(ranks.choice.lane) == "ucx");
  BOOST_TEST(ranks.choice.reason == "asked for by the options");
  const auto job = ranks.offer(77, 4);
  const auto stats = ranks.pull(job);
  BOOST_REQUIRE_MESSAGE(stats, to_string(stats ? error{} : stats.error()));
  BOOST_TEST(stats->bytes == 77 * ranks.context.shape.slot_bytes());
  BOOST_TEST(ranks.arrived(job));
  std::vector<bool> written(100);
  for (const auto slot : job.destination)
    written[slot] = true;
  for (std::uint32_t slot = 0; slot < 100; ++slot)
    BOOST_TEST((written[slot] || ranks.generation.holds(slot, slot, 2)));
}

BOOST_DATA_TEST_CASE(small_and_empty_pulls_arrive, data::make(transports)) {
  introduced_ranks ranks{{.layers = 1, .fragment_bytes = 512}, ucx_only(sample)};
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    auto job = ranks.offer(1 + seed % 3, seed);
    BOOST_REQUIRE(ranks.pull(job));
    BOOST_TEST(ranks.arrived(job));
    const auto whole = job.granted.ranges[0];
    job.granted.ranges[0].tokens = {};
    BOOST_TEST(ranks.pull(job)->bytes == 0u);
    job.granted.ranges[0] = whole;
    job.granted.ranges[0].layers = {5, 9};
    BOOST_TEST(ranks.pull(job)->bytes == 0u);
  }
}

BOOST_DATA_TEST_CASE(many_jobs_at_once_share_the_rings, data::make(transports)) {
  auto options = ucx_only(sample);
  options.ring_chunks = 4;
  options.chunk_bytes = 8192;
  options.credits = 3;
  introduced_ranks ranks{{.layers = 2, .slots = 64, .fragment_bytes = 4096}, options};
  std::vector<eventually<expected<pull_stats>>> ended(40);
  for (std::uint32_t i = 0; i < ended.size(); ++i)
    ranks.begin(ranks.offer(16, i), session_key{100 + i}, ended[i].callback());
  for (auto& one : ended) {
    const auto result = one.get();
    BOOST_TEST((result && *result));
  }
}

BOOST_AUTO_TEST_CASE(ranks_with_different_chunk_sizes_understand_each_other) {
  const cache_shape shape;
  auto options = ucx_only("posix,cma,self");
  options.chunk_bytes = 100'000;
  plane_rank context{shape, instance_role::context, options};
  options.chunk_bytes = 70'001;
  plane_rank generation{shape, instance_role::generation, options};
  context.fill(1);
  BOOST_REQUIRE(introduce(
      *context.plane, card_of(context.layout, generation.layout, generation.plane->manifest())));
  BOOST_REQUIRE(introduce(*generation.plane,
                          card_of(generation.layout, context.layout, context.plane->manifest())));
  const auto spec = whole_blocks(shape, generation.life(), {3, 9, 1});
  const auto right = context.plane->grant(sender, spec).value();
  eventually<expected<pull_stats>> ended;
  generation.plane->pull(receiver, job_for(right, spec, {7, 8, 9}), ended.callback());
  BOOST_REQUIRE(ended.get().value());
  BOOST_TEST((generation.holds(7, 3, 1) && generation.holds(8, 9, 1) && generation.holds(9, 1, 1)));
}

BOOST_AUTO_TEST_CASE(an_owner_that_is_busy_with_introductions_hears_every_reader) {
  const cache_shape shape;
  const auto options = ucx_only("posix,cma,self");
  for (int round = 0; round < 4; ++round) {
    plane_rank owner{shape, instance_role::context, options};
    owner.fill(1);
    std::vector<std::unique_ptr<plane_rank>> readers;
    for (int i = 0; i < 4; ++i) {
      readers.push_back(std::make_unique<plane_rank>(shape, instance_role::generation, options));
      BOOST_REQUIRE(introduce(*readers.back()->plane, card_of(readers.back()->layout, owner.layout,
                                                              owner.plane->manifest())));
    }
    std::vector<eventually<expected<pull_stats>>> pulls(readers.size());
    for (std::size_t i = 0; i < readers.size(); ++i) {
      auto& reader = *readers[i];
      const auto spec = whole_blocks(shape, reader.life(), {3, 9, 1});
      owner.plane->introduce(
          card_of(owner.layout, reader.layout, reader.plane->manifest()),
          [&, i, spec](const expected<lane_choice>& known) {
            if (!known)
              return;
            const auto right = owner.plane->grant(sender, spec).value();
            reader.plane->pull(receiver, job_for(right, spec, {7, 8, 9}), pulls[i].callback());
          });
    }
    for (auto& one : pulls) {
      const auto result = one.get(std::chrono::seconds{2});
      BOOST_TEST((result && *result));
    }
  }
}

BOOST_DATA_TEST_CASE(a_revoked_lease_is_reported, data::make(transports)) {
  introduced_ranks ranks{{}, ucx_only(sample)};
  const auto job = ranks.offer(60, 8);
  ranks.context.plane->revoke(job.right);
  const auto stats = ranks.pull(job);
  BOOST_REQUIRE(!stats);
  BOOST_TEST(to_string(stats.error().code) == "lease_revoked");
}

BOOST_DATA_TEST_CASE(no_pull_validates_while_the_owner_rewrites, data::make(transports)) {
  introduced_ranks ranks{{.layers = 2, .slots = 32}, ucx_only(sample)};
  std::uint32_t good = 0;
  for (std::uint32_t round = 0; round < 30; ++round) {
    const session_key owner{100 + round};
    const auto job = ranks.offer(24, round, owner);
    eventually<expected<pull_stats>> ended;
    ranks.begin(job, receiver, ended.callback());
    for (std::uint32_t spin = 0; spin < round * 3000 && !ended.ready(); ++spin)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    BOOST_REQUIRE(retired(*ranks.context.plane, owner));
    ranks.context.fill(9);
    const auto result = ended.get();
    BOOST_REQUIRE(result);
    if (*result) {
      ++good;
      BOOST_REQUIRE(ranks.arrived(job));
    } else {
      BOOST_REQUIRE(to_string(result->error().code) == "lease_revoked");
    }
    ranks.context.fill(1);
  }
  BOOST_TEST_MESSAGE(good << " of 30 validated");
}

BOOST_AUTO_TEST_CASE(an_owner_serves_nothing_beyond_the_grant_and_no_other_reader) {
  introduced_ranks ranks{{}, ucx_only("posix,cma,self")};
  auto job = ranks.offer(4, 3);
  job.granted.ranges[0].tokens = {16, 32};
  const auto part = ranks.context.plane->grant(sender, job.granted).value();
  job.granted.ranges[0].tokens = {0, 32};
  job.right = part;
  const auto beyond = ranks.pull(job);
  BOOST_REQUIRE(!beyond);
  BOOST_TEST(to_string(beyond.error().code) == "invalid_argument");

  auto layers = ranks.offer(4, 3);
  layers.granted.ranges[0].layers = {1, 2};
  layers.right = ranks.context.plane->grant(sender, layers.granted).value();
  const auto granted = ranks.pull(layers);
  BOOST_REQUIRE(granted);
  BOOST_TEST(granted->bytes == 4 * ranks.context.shape.slot_bytes() / ranks.context.shape.layers);
  layers.granted.ranges[0].layers = {1, 3};
  const auto more = ranks.pull(layers);
  BOOST_REQUIRE(!more);
  BOOST_TEST(to_string(more.error().code) == "invalid_argument");

  auto foreign = ranks.offer(4, 3);
  foreign.granted.reader = incarnation{4711};
  foreign.right = ranks.context.plane->grant(sender, foreign.granted).value();
  const auto other = ranks.pull(foreign);
  BOOST_REQUIRE(!other);
  BOOST_TEST(to_string(other.error().code) == "invalid_argument");
}

BOOST_DATA_TEST_CASE(retiring_the_receiver_ends_its_jobs_before_it_is_confirmed,
                     data::make(transports)) {
  introduced_ranks ranks{{.layers = 16, .slots = 64}, ucx_only(sample)};
  std::atomic<int> ended{0};
  const auto job = ranks.offer(64, 9);
  for (int i = 0; i < 6; ++i)
    ranks.begin(job, receiver, [&](const expected<pull_stats>&) { ++ended; });
  eventually<int> confirmed;
  ranks.generation.plane->retire(receiver,
                                 [&, done = confirmed.callback()] { done(ended.load()); });
  BOOST_TEST(confirmed.get().value_or(-1) == 6);
  ranks.generation.fill(3);
  const auto later = ranks.offer(2, 1);
  const auto dead = ranks.pull(later);
  BOOST_TEST((!dead && dead.error().code == errc::cancelled));
  BOOST_TEST(ranks.pull(later, session_key{3}).has_value());
  for (std::uint32_t slot = 0; slot < 64; ++slot)
    if (std::ranges::find(later.destination, slot) == later.destination.end())
      BOOST_TEST(ranks.generation.holds(slot, slot, 3));
}

BOOST_AUTO_TEST_CASE(a_forgotten_peer_is_lost_and_can_be_introduced_again) {
  introduced_ranks ranks{{}, ucx_only("posix,cma,self")};
  const auto job = ranks.offer(4, 12);
  BOOST_REQUIRE(ranks.pull(job));
  ranks.generation.plane->forget(ranks.context.life());
  const auto lost = ranks.pull(job);
  BOOST_REQUIRE(!lost);
  BOOST_TEST(to_string(lost.error().code) == "peer_lost");
  BOOST_REQUIRE(ranks.introduce_again());
  BOOST_TEST(ranks.pull(job).has_value());
}

BOOST_DATA_TEST_CASE(an_owner_that_shuts_down_ends_the_pulls_of_others, data::make(transports)) {
  auto ranks =
      std::make_unique<introduced_ranks>(cache_shape{.layers = 16, .slots = 64}, ucx_only(sample));
  std::vector<eventually<expected<pull_stats>>> ended(8);
  const auto job = ranks->offer(64, 1);
  BOOST_REQUIRE(ranks->pull(job));
  for (std::uint32_t i = 0; i < ended.size(); ++i)
    ranks->begin(job, session_key{100 + i}, ended[i].callback());
  ranks->context.plane.reset();
  int lost = 0;
  for (auto& one : ended) {
    const auto result = one.get();
    BOOST_REQUIRE(result);
    if (*result)
      continue;
    const auto code = result->error().code;
    BOOST_TEST((code == errc::peer_lost || code == errc::lease_revoked));
    ++lost;
  }
  BOOST_TEST(lost > 0);
}

BOOST_DATA_TEST_CASE(destroying_a_rank_ends_all_its_jobs, data::make(transports)) {
  std::atomic<int> ended{0};
  {
    introduced_ranks ranks{{.layers = 16, .slots = 64}, ucx_only(sample)};
    const auto job = ranks.offer(64, 13);
    for (int i = 0; i < 8; ++i)
      ranks.begin(job, receiver, [&](const expected<pull_stats>&) { ++ended; });
  }
  BOOST_TEST(ended == 8);
}

BOOST_AUTO_TEST_CASE(engine_memory_gets_the_ucx_lane_with_that_reason) {
  plane_options options;
  std::vector<std::byte> engine_memory;
  plane_rank context{{}, instance_role::context, options, &engine_memory};
  plane_rank generation{{}, instance_role::generation, options};
  const auto choice = introduce(
      *generation.plane, card_of(generation.layout, context.layout, context.plane->manifest()));
  BOOST_REQUIRE(choice);
  BOOST_TEST(to_string(choice->lane) == "ucx");
  BOOST_TEST(
      choice->reason ==
      "pool 0 of the peer cannot be mapped: host memory of the engine; let baton allocate it");
}

BOOST_AUTO_TEST_CASE(another_ucx_version_is_refused_if_the_lane_is_needed) {
  introduced_ranks ranks{{}, ucx_only("posix,cma,self")};
  plane_rank context{{}, instance_role::context, ucx_only("posix,cma,self")};
  auto card = card_of(ranks.generation.layout, context.layout, context.plane->manifest());
  auto manifest = decode_manifest(card.manifest).value();
  manifest.ucx_version = "1.13.1";
  card.manifest = encode(manifest);
  const auto choice = introduce(*ranks.generation.plane, card);
  BOOST_REQUIRE(!choice);
  BOOST_TEST(to_string(choice.error().code) == "version_mismatch");
}

BOOST_AUTO_TEST_CASE(another_host_needs_tcp) {
  plane_options options;
  plane_rank context{{}, instance_role::context, options};
  plane_rank generation{{}, instance_role::generation, options};
  auto card = card_of(generation.layout, context.layout, context.plane->manifest());
  auto manifest = decode_manifest(card.manifest).value();
  manifest.boot_id = "another";
  card.manifest = encode(manifest);
  const auto refused = introduce(*generation.plane, card);
  BOOST_REQUIRE(!refused);
  BOOST_TEST(refused.error().text ==
             "peer is on another host, and UCX may not use tcp: set tcp_devices");

  options.tcp_devices = "lo";
  plane_rank reaching{{}, instance_role::generation, options};
  const auto choice = introduce(*reaching.plane, card);
  BOOST_REQUIRE(choice);
  BOOST_TEST(choice->reason == "peer is on another host");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
