#include <sys/mman.h>

#include <atomic>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "gpu/device.hpp"
#include "messages/manifest.hpp"
#include "tests/support/planes.hpp"

namespace baton {

namespace {

using namespace test;

plane_options mapped_only() {
  plane_options options;
  options.lanes = lane_policy::mapped;
  options.leases = 64;
  return options;
}

} // namespace

BOOST_AUTO_TEST_SUITE(mapped_lane)

BOOST_AUTO_TEST_CASE(a_peer_on_this_host_is_mapped) {
  introduced_ranks ranks{{}, mapped_only()};
  BOOST_TEST(to_string(ranks.choice.lane) == "mapped");
  BOOST_TEST(ranks.choice.reason == "same host");
}

BOOST_AUTO_TEST_CASE(a_small_pull_delivers_every_byte_within_the_call) {
  introduced_ranks ranks{{.layers = 1, .fragment_bytes = 1024}, mapped_only()};
  const auto job = ranks.offer(8, 3);
  eventually<expected<pull_stats>> ended;
  ranks.begin(job, receiver, ended.callback());
  BOOST_REQUIRE(ended.ready());
  const auto stats = *ended.get();
  BOOST_REQUIRE(stats);
  BOOST_TEST(stats->bytes == 8u * 2 * 1024);
  BOOST_TEST(stats->fragments == 16u);
  BOOST_TEST(to_string(stats->lane.lane) == "mapped");
  BOOST_TEST(ranks.arrived(job));
}

BOOST_AUTO_TEST_CASE(a_large_pull_delivers_every_byte_and_writes_nothing_else) {
  introduced_ranks ranks{{.layers = 5, .slots = 100, .fragment_bytes = 12'288}, mapped_only()};
  const auto job = ranks.offer(77, 4);
  const auto stats = ranks.pull(job);
  BOOST_REQUIRE(stats);
  BOOST_TEST(stats->bytes == 77 * ranks.context.shape.slot_bytes());
  BOOST_TEST(ranks.arrived(job));
  std::vector<bool> written(100);
  for (const auto slot : job.destination)
    written[slot] = true;
  for (std::uint32_t slot = 0; slot < 100; ++slot)
    BOOST_TEST((written[slot] || ranks.generation.holds(slot, slot, 2)));
}

BOOST_AUTO_TEST_CASE(a_job_larger_than_the_caches_is_streamed_correctly) {
  introduced_ranks ranks{{.layers = 16, .slots = 160, .fragment_bytes = 16'400}, mapped_only()};
  const auto job = ranks.offer(150, 5);
  BOOST_REQUIRE(ranks.pull(job));
  BOOST_TEST(ranks.arrived(job));
}

BOOST_AUTO_TEST_CASE(a_part_of_a_grant_can_be_pulled) {
  introduced_ranks ranks{{}, mapped_only()};
  auto job = ranks.offer(8, 6);
  job.granted.ranges[0].tokens = {16, 32};
  const auto stats = ranks.pull(job);
  BOOST_REQUIRE(stats);
  BOOST_TEST(stats->bytes == ranks.context.shape.slot_bytes());
  BOOST_TEST(ranks.generation.holds(job.destination[1], job.granted.blocks[0].blocks[1], 1));
}

BOOST_AUTO_TEST_CASE(an_empty_range_is_done_at_once) {
  introduced_ranks ranks{{}, mapped_only()};
  auto no_tokens = ranks.offer(8, 7);
  no_tokens.granted.ranges[0].tokens = {};
  auto no_layers = ranks.offer(8, 7);
  no_layers.granted.ranges[0].layers = {5, 9};
  for (const auto& job : {no_tokens, no_layers}) {
    const auto stats = ranks.pull(job);
    BOOST_REQUIRE(stats);
    BOOST_TEST(stats->bytes == 0u);
  }
}

BOOST_AUTO_TEST_CASE(a_revoked_lease_is_reported_for_small_and_large_jobs) {
  introduced_ranks ranks{{}, mapped_only()};
  for (const auto blocks : {1u, 60u}) {
    const auto job = ranks.offer(blocks, 8);
    ranks.context.plane->revoke(job.right);
    const auto stats = ranks.pull(job);
    BOOST_REQUIRE(!stats);
    BOOST_TEST(to_string(stats.error().code) == "lease_revoked");
  }
}

BOOST_AUTO_TEST_CASE(no_pull_validates_while_the_owner_rewrites) {
  introduced_ranks ranks{{.layers = 2, .slots = 64, .fragment_bytes = 16'384}, mapped_only()};
  std::uint32_t good = 0;
  std::uint32_t revoked = 0;
  for (std::uint32_t round = 0; round < 60; ++round) {
    const auto job = ranks.offer(48, round);
    eventually<expected<pull_stats>> ended;
    ranks.begin(job, receiver, ended.callback());
    for (std::uint32_t spin = 0; spin < round * 2000 && !ended.ready(); ++spin)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    ranks.context.plane->revoke(job.right);
    ranks.context.fill(9);
    const auto result = ended.get();
    BOOST_REQUIRE(result);
    if (*result) {
      ++good;
      BOOST_REQUIRE(ranks.arrived(job));
    } else {
      ++revoked;
      BOOST_REQUIRE(to_string(result->error().code) == "lease_revoked");
    }
    ranks.context.fill(1);
  }
  BOOST_TEST_MESSAGE(good << " validated, " << revoked << " revoked");
  BOOST_TEST(good + revoked == 60u);
}

BOOST_AUTO_TEST_CASE(retiring_the_receiver_ends_its_jobs_before_it_is_confirmed) {
  introduced_ranks ranks{{.layers = 16, .slots = 160}, mapped_only()};
  std::atomic<int> ended{0};
  for (std::uint32_t i = 0; i < 6; ++i)
    ranks.begin(ranks.offer_part(i, 6), receiver, [&](const expected<pull_stats>&) { ++ended; });
  eventually<int> confirmed;
  ranks.generation.plane->retire(receiver,
                                 [&, done = confirmed.callback()] { done(ended.load()); });
  BOOST_TEST(confirmed.get().value_or(-1) == 6);
  const auto late = ranks.pull(ranks.offer(1, 1));
  BOOST_TEST((!late && late.error().code == errc::cancelled));
}

BOOST_AUTO_TEST_CASE(a_session_without_anything_retires_within_the_call) {
  introduced_ranks ranks{{}, mapped_only()};
  bool confirmed = false;
  ranks.generation.plane->retire(session_key{99}, [&] { confirmed = true; });
  BOOST_TEST(confirmed);
}

BOOST_AUTO_TEST_CASE(retiring_the_sender_revokes_its_leases) {
  introduced_ranks ranks{{}, mapped_only()};
  const auto job = ranks.offer(4, 10);
  BOOST_TEST(ranks.context.plane->granted() == 1u);
  BOOST_TEST(retired(*ranks.context.plane, sender));
  BOOST_TEST(ranks.context.plane->granted() == 0u);
  const auto stats = ranks.pull(job);
  BOOST_TEST((!stats && stats.error().code == errc::lease_revoked));
  const auto late = ranks.context.plane->grant(sender, job.granted);
  BOOST_TEST((!late && late.error().code == errc::cancelled));
  BOOST_TEST(ranks.context.plane->granted() == 0u);
}

BOOST_AUTO_TEST_CASE(many_jobs_take_turns_and_all_end_well) {
  introduced_ranks ranks{{.layers = 4, .slots = 96}, mapped_only()};
  BOOST_TEST(ranks.pull_at_once(12) == "");
}

BOOST_AUTO_TEST_CASE(a_block_outside_of_the_pools_is_refused_on_both_sides) {
  introduced_ranks ranks{{}, mapped_only()};
  auto spec = whole_blocks(ranks.context.shape, ranks.generation.life(), {64});
  const auto right = ranks.context.plane->grant(sender, spec);
  BOOST_REQUIRE(!right);
  BOOST_TEST(to_string(right.error().code) == "invalid_argument");
  auto job = ranks.offer(1, 11);
  job.destination = {64};
  const auto stats = ranks.pull(job);
  BOOST_REQUIRE(!stats);
  BOOST_TEST(to_string(stats.error().code) == "invalid_argument");
  job.destination.clear();
  BOOST_TEST(!ranks.pull(job));
}

BOOST_AUTO_TEST_CASE(a_forgotten_peer_can_be_introduced_again) {
  introduced_ranks ranks{{}, mapped_only()};
  const auto job = ranks.offer(4, 12);
  ranks.generation.plane->forget(ranks.context.life());
  const auto lost = ranks.pull(job);
  BOOST_REQUIRE(!lost);
  BOOST_TEST(to_string(lost.error().code) == "peer_lost");
  BOOST_REQUIRE(ranks.introduce_again());
  BOOST_TEST(ranks.pull(job).has_value());
}

BOOST_AUTO_TEST_CASE(a_peer_may_be_introduced_twice_at_once) {
  plane_rank context{{}, instance_role::context, mapped_only()};
  plane_rank generation{{}, instance_role::generation, mapped_only()};
  eventually<expected<lane_choice>> first;
  eventually<expected<lane_choice>> second;
  const auto card = card_of(generation.layout, context.layout, context.plane->manifest());
  generation.plane->introduce(card, first.callback());
  generation.plane->introduce(card, second.callback());
  BOOST_TEST(first.get()->value().reason == "same host");
  BOOST_TEST(second.get()->value().reason == "same host");
}

BOOST_AUTO_TEST_CASE(
    two_ranks_that_introduce_each_other_at_the_same_time_do_not_wait_for_each_other) {
  const auto options = mapped_only();
  plane_rank context{{}, instance_role::context, options};
  plane_rank generation{{}, instance_role::generation, options};
  auto there = card_of(generation.layout, context.layout, context.plane->manifest());
  auto back = card_of(context.layout, generation.layout, generation.plane->manifest());
  back.pull = plan_between(generation.layout, context.layout);
  eventually<expected<lane_choice>> first;
  eventually<expected<lane_choice>> second;
  generation.plane->introduce(there, first.callback());
  context.plane->introduce(back, second.callback());
  BOOST_TEST(first.get(std::chrono::milliseconds{1500}).has_value());
  BOOST_TEST(second.get(std::chrono::milliseconds{1500}).has_value());
}

BOOST_AUTO_TEST_CASE(the_policy_mapped_refuses_what_it_cannot_map) {
  std::vector<std::byte> engine_memory;
  plane_rank context{{}, instance_role::context, mapped_only(), &engine_memory};
  plane_rank generation{{}, instance_role::generation, mapped_only()};
  auto card = card_of(generation.layout, context.layout, context.plane->manifest());
  const auto adopted = introduce(*generation.plane, card);
  BOOST_REQUIRE(!adopted);
  BOOST_TEST(adopted.error().text ==
             "the mapped lane is demanded, but pool 0 of the peer cannot be mapped: host memory of "
             "the engine; let baton allocate it");

  auto manifest = decode_manifest(card.manifest).value();
  manifest.boot_id = "another";
  card.manifest = encode(manifest);
  const auto elsewhere = introduce(*generation.plane, card);
  BOOST_REQUIRE(!elsewhere);
  BOOST_TEST(elsewhere.error().text == "the mapped lane is demanded, but peer is on another host");
}

BOOST_AUTO_TEST_CASE(a_rank_without_a_gpu_says_so_when_its_peer_has_gpu_pools) {
  if (gpu_count() > 0)
    return;
  plane_rank context{{}, instance_role::context, mapped_only()};
  plane_rank generation{{}, instance_role::generation, mapped_only()};
  auto layout = context.layout;
  layout.pools[0].kind = memory_kind::cuda;
  layout.pools[0].device_uuid = "GPU-1";
  auto manifest = decode_manifest(context.plane->manifest()).value();
  const auto wrong =
      introduce(*generation.plane, card_of(generation.layout, layout, context.plane->manifest()));
  BOOST_REQUIRE(!wrong);
  BOOST_TEST(wrong.error().text ==
             "pools[0] is cuda memory, and its manifest offers a memory file");
  manifest.pools[0] = {.kind = share_kind::vmm,
                       .pieces = {layout.pools[0].bytes()},
                       .bytes = layout.pools[0].bytes()};
  const auto choice =
      introduce(*generation.plane, card_of(generation.layout, layout, encode(manifest)));
  BOOST_REQUIRE(!choice);
  BOOST_TEST(choice.error().text.find("the peer has GPU pools, and ") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(nothing_is_written_after_an_event_that_failed) {
  if (gpu_count() > 0)
    return;
  introduced_ranks ranks{{}, mapped_only()};
  int handle = 0; // of an event that nobody here can ask for
  const auto offered = ranks.offer(4, 12);
  auto job = job_for(offered.right, offered.granted, offered.destination);
  job.after = {&handle};
  eventually<expected<pull_stats>> ended;
  ranks.generation.plane->pull(receiver, job, ended.callback());
  const auto result = ended.get();
  BOOST_REQUIRE((result && !*result));
  BOOST_TEST(to_string(result->error().code) == "gpu_failed");
  for (const auto slot : offered.destination)
    BOOST_TEST(ranks.generation.holds(slot, slot, 2));
  BOOST_TEST(retired(*ranks.generation.plane, receiver));

  eventually<expected<>> waited;
  ranks.context.plane->when(sender, {}, waited.callback());
  BOOST_REQUIRE(waited.ready());
  BOOST_TEST(waited.get()->has_value());
}

BOOST_AUTO_TEST_CASE(a_socket_that_does_not_know_the_token_is_refused) {
  plane_rank context{{}, instance_role::context, mapped_only()};
  plane_rank generation{{}, instance_role::generation, mapped_only()};
  auto card = card_of(generation.layout, context.layout, context.plane->manifest());
  auto manifest = decode_manifest(card.manifest).value();
  manifest.token[5] = static_cast<char>(manifest.token[5] ^ 1);
  card.manifest = encode(manifest);
  const auto choice = introduce(*generation.plane, card);
  BOOST_REQUIRE(!choice);
  BOOST_TEST(choice.error().text ==
             "the mapped lane is demanded, but the export socket is not the peer's own");
}

BOOST_AUTO_TEST_CASE(a_peer_whose_pool_is_smaller_than_its_layout_is_refused) {
  plane_rank context{{.slots = 32}, instance_role::context, mapped_only()};
  plane_rank generation{{}, instance_role::generation, mapped_only()};
  auto layout = cache_layout({.slots = 64}, instance_role::context, context.life());
  const auto choice =
      introduce(*generation.plane, card_of(generation.layout, layout, context.plane->manifest()));
  BOOST_REQUIRE(!choice);
  BOOST_TEST(choice.error().text.find("pool 0 of the peer has") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(destroying_a_rank_ends_all_its_jobs) {
  std::atomic<int> ended{0};
  {
    introduced_ranks ranks{{.layers = 16, .slots = 160}, mapped_only()};
    for (std::uint32_t i = 0; i < 8; ++i)
      ranks.begin(ranks.offer_part(i, 8), receiver, [&](const expected<pull_stats>&) { ++ended; });
  }
  BOOST_TEST(ended == 8);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
