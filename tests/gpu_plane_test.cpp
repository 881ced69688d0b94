// The mapped lane with GPU pools, all ranks in this process.
#include <atomic>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "messages/manifest.hpp"
#include "tests/support/expandable_segment.hpp"
#include "tests/support/gpu_planes.hpp"

namespace baton {

namespace {

using namespace test;
namespace data = boost::unit_test::data;

constexpr auto host = pool_memory::host;
constexpr auto device = pool_memory::device;
constexpr auto cuda_malloc = pool_memory::cuda_malloc;

/// Sources that can be mapped within one process, and destinations.
const std::vector<pairing> pairings{
    {device, device}, {device, host}, {host, device}, {device, cuda_malloc}, {host, cuda_malloc}};

introduced_ranks ranks_of(const cache_shape& shape, pairing memory,
                          const plane_options& options = gpu_options()) {
  return {gpu_rank(shape, instance_role::context, memory.source, options),
          gpu_rank(shape, instance_role::generation, memory.destination, options)};
}

std::string text_of(const expected<pull_stats>& result) {
  return result ? "" : to_string(result.error());
}

/// Two ranks whose pools take a while to pull, and a pull that is under way.
struct long_pull {
  explicit long_pull(pairing memory = {device, device})
      : context{gpu_rank(large_cache, instance_role::context, memory.source, slow_options())},
        generation{
            gpu_rank(large_cache, instance_role::generation, memory.destination, slow_options())} {
    blank(context, std::byte{1});
    blank(generation, std::byte{2});
    BOOST_REQUIRE(introduce(*generation.plane,
                            card_of(generation.layout, context.layout, context.plane->manifest())));
    const auto granted = whole_blocks(large_cache, generation.life(), all_blocks(large_cache));
    right = context.plane->grant(sender, granted).value();
    generation.plane->pull(receiver, job_for(right, granted, all_blocks(large_cache)),
                           ended.callback());
    BOOST_REQUIRE(written(generation, std::byte{2}));
  }

  [[nodiscard]] std::string how() {
    const auto result = ended.get();
    if (!result)
      return "never";
    return *result ? "whole" : std::string{to_string(result->error().code)};
  }

  plane_rank context;
  plane_rank generation;
  lease right;
  eventually<expected<pull_stats>> ended;
};

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_planes, *boost::unit_test::precondition(a_gpu))

BOOST_DATA_TEST_CASE(every_byte_arrives_and_nothing_else_is_written, data::make(pairings)) {
  const auto ranks = ranks_of({.layers = 5, .slots = 100, .fragment_bytes = 12'288}, sample);
  const auto job = ranks.offer(77, 4);
  const auto stats = ranks.pull(job);
  BOOST_REQUIRE_MESSAGE(stats, text_of(stats));
  BOOST_TEST(stats->bytes == 77 * ranks.context.shape.slot_bytes());
  BOOST_TEST(to_string(stats->lane.lane) == "mapped");
  BOOST_TEST(ranks.arrived(job));
  std::vector<bool> touched(100);
  for (const auto slot : job.destination)
    touched[slot] = true;
  for (std::uint32_t slot = 0; slot < 100; ++slot)
    BOOST_TEST((touched[slot] || ranks.generation.holds(slot, slot, 2)));
}

BOOST_DATA_TEST_CASE(small_and_odd_fragments_arrive,
                     data::make({16u, 48u, 112u, 1'040u}) * data::make(pairings), bytes, memory) {
  const auto ranks = ranks_of({.layers = 3, .slots = 40, .fragment_bytes = bytes}, memory);
  const auto job = ranks.offer(33, 5);
  const auto stats = ranks.pull(job);
  BOOST_REQUIRE_MESSAGE(stats, text_of(stats));
  BOOST_TEST(ranks.arrived(job));
}

BOOST_AUTO_TEST_CASE(the_choice_says_how_memory_was_mapped) {
  const auto ranks = ranks_of({}, {device, device});
  BOOST_TEST(ranks.choice.reason == "same host, GPU memory mapped read-only");
  BOOST_TEST(ranks_of({}, {host, device}).choice.reason == "same host");
}

BOOST_AUTO_TEST_CASE(many_pulls_run_at_the_same_time) {
  const auto ranks = ranks_of({.layers = 4, .slots = 96}, {device, device});
  BOOST_TEST(ranks.pull_at_once(48) == "");
}

BOOST_AUTO_TEST_CASE(a_forgotten_peer_can_be_introduced_again) {
  const auto ranks = ranks_of({}, {device, device});
  const auto job = ranks.offer(8, 12);
  BOOST_TEST(ranks.pull(job).has_value());
  ranks.generation.plane->forget(ranks.context.life());
  BOOST_REQUIRE(ranks.introduce_again());
  ranks.generation.fill(2);
  BOOST_TEST(ranks.pull(job).has_value());
  BOOST_TEST(ranks.arrived(job));
}

BOOST_AUTO_TEST_CASE(engine_memory_over_several_allocations_is_pulled) {
  const cache_shape shape{.layers = 4, .slots = 64};
  const auto half = shape.pool_bytes() / 2;
  const auto segment = expandable_segment::create(0, {half, half + (4u << 20)}).value();

  auto source = gpu_rank(shape, instance_role::context, host, gpu_options());
  place(source.layout, device, 0);
  std::vector<memory_pool> pools;
  pools.emplace_back(device_pool::adopt(segment.data() + 4096, shape.pool_bytes()).value());
  BOOST_TEST(pools[0].share().pieces.size() == 2u);
  source.plane =
      rank_plane::create(source.life(), source.layout, std::move(pools), gpu_options()).value();
  const introduced_ranks ranks{std::move(source),
                               gpu_rank(shape, instance_role::generation, device, gpu_options())};
  const auto job = ranks.offer(64, 4);
  const auto stats = ranks.pull(job);
  BOOST_REQUIRE_MESSAGE(stats, text_of(stats));
  BOOST_TEST(ranks.arrived(job));
}

BOOST_AUTO_TEST_CASE(cuda_malloc_memory_of_the_same_process_is_refused_with_the_reason) {
  const auto context = gpu_rank({}, instance_role::context, cuda_malloc, gpu_options());
  const auto generation = gpu_rank({}, instance_role::generation, device, gpu_options());
  const auto choice = introduce(
      *generation.plane, card_of(generation.layout, context.layout, context.plane->manifest()));
  BOOST_REQUIRE(!choice);
  BOOST_TEST(choice.error().text.find("of this same process") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(pools_must_lie_where_the_layout_says) {
  auto layout = cache_layout({}, instance_role::context, incarnation{5});
  place(layout, device, 0);
  const auto create = [&] {
    std::vector<memory_pool> pools;
    pools.emplace_back(device_pool::create(0, cache_shape{}.pool_bytes()).value());
    return rank_plane::create(layout.life, layout, std::move(pools), gpu_options());
  };
  BOOST_TEST(create().has_value());
  layout.pools[0].device_uuid = "GPU-0";
  const auto elsewhere = create();
  BOOST_REQUIRE(!elsewhere);
  BOOST_TEST(to_string(elsewhere.error().code) == "invalid_argument");
}

BOOST_AUTO_TEST_CASE(a_cancelled_pull_ends_at_once) {
  long_pull one;
  const auto begin = std::chrono::steady_clock::now();
  BOOST_TEST(retired(*one.generation.plane, receiver));
  BOOST_TEST((std::chrono::steady_clock::now() - begin < std::chrono::milliseconds{500}));
  BOOST_TEST(one.how() == "cancelled");
}

BOOST_AUTO_TEST_CASE(a_revocation_under_a_pull_is_reported) {
  long_pull one;
  one.context.plane->revoke(one.right);
  BOOST_TEST(one.how() == "lease_revoked");
}

BOOST_AUTO_TEST_CASE(destroying_the_source_under_a_pull_delivers_nothing) {
  long_pull one;
  one.context.plane.reset();
  BOOST_TEST(one.how() == "lease_revoked");
}

BOOST_AUTO_TEST_CASE(destroying_the_destination_ends_its_pulls) {
  long_pull one;
  const auto begin = std::chrono::steady_clock::now();
  one.generation.plane.reset();
  BOOST_TEST((std::chrono::steady_clock::now() - begin < std::chrono::seconds{2}));
  BOOST_TEST(one.how() == "cancelled");
}

BOOST_AUTO_TEST_CASE(a_peer_that_is_forgotten_under_a_pull_stays_mapped_until_it_ends) {
  long_pull one;
  one.generation.plane->forget(one.context.life());
  BOOST_TEST(one.how() == "whole");
}

BOOST_DATA_TEST_CASE(nothing_is_written_before_the_event_of_the_destination,
                     data::make({device, host})) {
  const auto options = gpu_options();
  const introduced_ranks ranks{gpu_rank({}, instance_role::context, sample, options),
                               gpu_rank({}, instance_role::generation, sample, options)};
  const auto offered = ranks.offer(32, 6);
  const busy_stream busy{gpu_of(instance_role::generation)};
  auto job = job_for(offered.right, offered.granted, offered.destination);
  job.after = busy.event.ref();
  eventually<expected<pull_stats>> ended;
  ranks.generation.plane->pull(receiver, job, ended.callback());
  bool early = false;
  while (!early && !busy.done())
    early = ended.ready() && !busy.done();
  BOOST_TEST(!early);
  const auto result = ended.get();
  BOOST_REQUIRE(result);
  BOOST_REQUIRE_MESSAGE(*result, text_of(*result));
  BOOST_TEST(ranks.arrived(offered));
}

BOOST_DATA_TEST_CASE(a_pull_that_waits_for_its_event_can_be_cancelled, data::make({device, host})) {
  const auto options = gpu_options();
  const introduced_ranks ranks{gpu_rank({}, instance_role::context, sample, options),
                               gpu_rank({}, instance_role::generation, sample, options)};
  const auto offered = ranks.offer(32, 6);
  const busy_stream busy{gpu_of(instance_role::generation)};
  auto job = job_for(offered.right, offered.granted, offered.destination);
  job.after = busy.event.ref();
  eventually<expected<pull_stats>> ended;
  ranks.generation.plane->pull(receiver, job, ended.callback());
  BOOST_TEST(retired(*ranks.generation.plane, receiver));
  BOOST_TEST(!busy.done());
  const auto result = ended.get();
  BOOST_REQUIRE((result && !*result));
  BOOST_TEST(to_string(result->error().code) == "cancelled");
  BOOST_TEST(finish(busy.stream.ref(), patience).has_value());
  for (std::uint32_t slot = 0; slot < ranks.generation.shape.slots; ++slot)
    BOOST_TEST(ranks.generation.holds(slot, slot, 2));
}

BOOST_AUTO_TEST_CASE(whoever_waits_for_an_event_is_told_after_it_or_when_the_session_retires) {
  const auto context = gpu_rank({}, instance_role::context, device, gpu_options());
  const busy_stream busy{gpu_of(instance_role::context)};
  eventually<expected<>> kept;
  eventually<expected<>> dropped;
  context.plane->when(sender, busy.event.ref(), kept.callback());
  context.plane->when(session_key{9}, busy.event.ref(), dropped.callback());
  BOOST_TEST(retired(*context.plane, session_key{9}));
  BOOST_TEST(!busy.done());
  const auto cancelled = dropped.get();
  BOOST_REQUIRE((cancelled && !*cancelled));
  BOOST_TEST(to_string(cancelled->error().code) == "cancelled");
  bool early = false;
  while (!early && !busy.done())
    early = kept.ready() && !busy.done();
  BOOST_TEST(!early);
  const auto told = kept.get();
  BOOST_REQUIRE(told);
  BOOST_TEST(told->has_value());
  eventually<expected<>> late;
  context.plane->when(sender, busy.event.ref(), late.callback());
  BOOST_TEST(late.ready());
}

BOOST_AUTO_TEST_CASE(a_rank_is_destroyed_while_others_wait_for_events) {
  auto context = gpu_rank({}, instance_role::context, device, gpu_options());
  const busy_stream busy{gpu_of(instance_role::context)};
  eventually<expected<>> waiting;
  context.plane->when(sender, busy.event.ref(), waiting.callback());
  context.plane.reset();
  BOOST_REQUIRE(waiting.ready());
  BOOST_TEST(!waiting.get()->has_value());
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
