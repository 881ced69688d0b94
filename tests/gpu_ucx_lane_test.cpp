// The ucx lane with GPU pools, all ranks in this process. UCX has no cuda_ipc within a process, so
// chunks are staged in page-locked host memory here; gpu_plane_process_test has the rest.
#include <chrono>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "tests/support/gpu_planes.hpp"

namespace baton {

namespace {

using namespace test;
namespace data = boost::unit_test::data;

constexpr auto host = pool_memory::host;
constexpr auto device = pool_memory::device;
constexpr auto cuda_malloc = pool_memory::cuda_malloc;

const std::vector<pairing> pairings{
    {device, device}, {cuda_malloc, device}, {device, host}, {host, device}, {host, cuda_malloc}};
const std::vector<std::string> transports{"posix,cma,self", "tcp"};

plane_options ucx_over(const std::string& transports) {
  auto options = gpu_options();
  options.lanes = lane_policy::ucx;
  options.ucx_transports = transports;
  if (transports == "tcp")
    options.tcp_devices = "lo";
  return options;
}

introduced_ranks ranks_of(const cache_shape& shape, pairing memory, const plane_options& options) {
  return {gpu_rank(shape, instance_role::context, memory.source, options),
          gpu_rank(shape, instance_role::generation, memory.destination, options)};
}

std::string text_of(const expected<pull_stats>& result) {
  return result ? "" : to_string(result.error());
}

/// A pull of some tens of milliseconds that is ended by either side.
struct long_pull {
  static constexpr cache_shape shape{.layers = 16, .slots = 128, .fragment_bytes = 64 * 1024};

  introduced_ranks ranks = ranks_of(shape, {device, device}, ucx_over("posix,cma,self"));
  introduced_ranks::offer_made job = ranks.offer(shape.slots, 3);
  eventually<expected<pull_stats>> ended;

  long_pull() { ranks.begin(job, receiver, ended.callback()); }

  [[nodiscard]] std::string how() {
    const auto result = ended.get();
    if (!result)
      return "never";
    return *result ? "whole" : std::string{to_string(result->error().code)};
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_ucx_lane, *boost::unit_test::precondition(a_gpu))

BOOST_DATA_TEST_CASE(every_byte_arrives_and_nothing_else_is_written,
                     data::make(pairings) * data::make(transports), memory, over) {
  const auto ranks =
      ranks_of({.layers = 5, .slots = 100, .fragment_bytes = 12'288}, memory, ucx_over(over));
  const auto job = ranks.offer(77, 4);
  const auto stats = ranks.pull(job);
  BOOST_REQUIRE_MESSAGE(stats, text_of(stats));
  BOOST_TEST(stats->bytes == 77 * ranks.context.shape.slot_bytes());
  BOOST_TEST(to_string(stats->lane.lane) == "ucx");
  BOOST_TEST(ranks.arrived(job));
  std::vector<bool> touched(100);
  for (const auto slot : job.destination)
    touched[slot] = true;
  for (std::uint32_t slot = 0; slot < 100; ++slot)
    BOOST_TEST((touched[slot] || ranks.generation.holds(slot, slot, 2)));
}

/// Chunks end within fragments, and slots of the rings start at odd addresses.
BOOST_DATA_TEST_CASE(chunks_of_any_size_arrive,
                     data::make({16u, 112u, 1'040u}) * data::make({4'096u, 10'001u, 65'536u}),
                     bytes, chunk) {
  auto options = ucx_over("posix,cma,self");
  options.chunk_bytes = chunk;
  const auto ranks =
      ranks_of({.layers = 3, .slots = 40, .fragment_bytes = bytes}, {device, device}, options);
  const auto job = ranks.offer(33, 5);
  const auto stats = ranks.pull(job);
  BOOST_REQUIRE_MESSAGE(stats, text_of(stats));
  BOOST_TEST(ranks.arrived(job));
}

BOOST_AUTO_TEST_CASE(many_pulls_share_the_rings) {
  auto options = ucx_over("posix,cma,self");
  options.ring_chunks = 4;
  options.chunk_bytes = 16'384;
  options.credits = 3;
  const auto ranks = ranks_of({.layers = 4, .slots = 96}, {device, device}, options);
  BOOST_TEST(ranks.pull_at_once(48) == "");
}

BOOST_AUTO_TEST_CASE(a_cancelled_pull_writes_nothing_any_more) {
  long_pull one;
  BOOST_TEST(retired(*one.ranks.generation.plane, receiver, std::chrono::seconds{1}));
  BOOST_TEST(one.how() == "cancelled");
  blank(one.ranks.generation, std::byte{9});
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds{50};
  bool touched = false;
  while (!touched && std::chrono::steady_clock::now() < end)
    for (std::uint32_t slot = 0; slot < long_pull::shape.slots; ++slot) {
      std::byte first{};
      BOOST_REQUIRE(copy_now(&first, one.ranks.generation.fragment(slot, 0), 1));
      touched |= first != std::byte{9};
    }
  BOOST_TEST(!touched);
}

BOOST_AUTO_TEST_CASE(a_revocation_under_a_pull_is_reported) {
  long_pull one;
  BOOST_TEST(retired(*one.ranks.context.plane, sender, std::chrono::seconds{1}));
  BOOST_TEST(one.how() == "lease_revoked");
}

BOOST_AUTO_TEST_CASE(destroying_either_side_ends_its_pulls) {
  {
    long_pull one;
    one.ranks.generation.plane.reset();
    BOOST_TEST(one.how() == "cancelled");
  }
  long_pull other;
  other.ranks.context.plane.reset();
  const auto how = other.how();
  BOOST_TEST((how != "whole" && how != "never"), how);
}

BOOST_AUTO_TEST_CASE(nothing_is_written_before_the_event_of_the_destination) {
  const auto ranks = ranks_of({}, {device, device}, ucx_over("posix,cma,self"));
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

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
