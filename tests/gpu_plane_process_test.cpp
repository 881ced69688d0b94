// Both lanes with GPU pools, the source or the destination in another process.
#include <csignal>
#include <sstream>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "tests/support/gpu_planes.hpp"
#include "tests/support/plane_process.hpp"

namespace baton {

namespace {

using namespace test;
namespace data = boost::unit_test::data;

constexpr auto host = pool_memory::host;
constexpr auto device = pool_memory::device;
constexpr auto cuda_malloc = pool_memory::cuda_malloc;

const std::vector<pairing> pairings{{device, device},      {device, host},
                                    {host, device},        {cuda_malloc, device},
                                    {cuda_malloc, host},   {cuda_malloc, cuda_malloc},
                                    {device, cuda_malloc}, {host, cuda_malloc}};
const std::vector<pool_memory> sources{device, cuda_malloc};

/// 128 MiB; with one thread block a pull takes some milliseconds.
constexpr cache_shape medium_cache{.layers = 8, .slots = 512};

/// Small chunks, so that pulls take some milliseconds, that stay on the GPU: the transports are
/// left to the plane.
plane_options ucx_options() {
  auto options = gpu_options();
  options.lanes = lane_policy::ucx;
  options.chunk_bytes = 128u << 10;
  return options;
}

process_options options_for(instance_role role, const cache_shape& shape, pool_memory memory,
                            const plane_options& plane = slow_options()) {
  process_options options;
  options.role = role;
  options.shape = shape;
  options.plane = plane;
  options.memory = memory;
  options.device = gpu_of(role);
  return options;
}

/// The source in another process, the destination here.
struct couple {
  couple(const cache_shape& shape, pairing memory, const plane_options& options = slow_options())
      : here{gpu_rank(shape, instance_role::generation, memory.destination, options)},
        memories{memory},
        plane{options},
        there{PLANE_PEER, options_for(instance_role::context, shape, memory.source, options)} {
    meet(there);
  }

  void meet(plane_process& peer) {
    auto layout = cache_layout(here.shape, instance_role::context, peer.life());
    place(layout, memories.source, gpu_of(instance_role::context));
    const auto choice = introduce(*here.plane, card_of(here.layout, layout, peer.manifest()));
    BOOST_REQUIRE_MESSAGE(choice, (choice ? "" : to_string(choice.error())));
    reason = choice->reason;
    if (plane.lanes != lane_policy::ucx)
      return;
    // There the source has to know whom it serves.
    const auto met =
        peer.ask(fmt::format("peer {} {} {} {}", here.life().value, to_hex(here.plane->manifest()),
                             static_cast<int>(memories.destination), here_device()));
    BOOST_REQUIRE_MESSAGE(met.starts_with("ok"), met);
  }

  static int here_device() { return gpu_of(instance_role::generation); }

  [[nodiscard]] lease ask_for_all(plane_process& peer) const {
    lease right{peer.life(), 0, 0};
    std::istringstream answer{peer.ask(sentence("grant", all_blocks(here.shape)))};
    answer >> right.slot >> right.epoch;
    return right;
  }

  void pull_all(const lease& right, session_key session,
                std::function<void(expected<pull_stats>)> done) const {
    const auto all = all_blocks(here.shape);
    here.plane->pull(session, job_for(right, whole_blocks(here.shape, here.life(), all), all),
                     std::move(done));
  }

  /// Whether all blocks hold what the other process was filled with.
  [[nodiscard]] bool all_arrived() const {
    for (std::uint32_t slot = 0; slot < here.shape.slots; ++slot)
      if (!here.holds(slot, slot, 1))
        return false;
    return true;
  }

  plane_rank here;
  pairing memories;
  plane_options plane;
  plane_process there;
  std::string reason;
};

/// Begins a pull of all blocks, and returns when a kernel is writing.
eventually<expected<pull_stats>> begin_and_see(const couple& ranks, const lease& right) {
  blank(ranks.here, std::byte{0xee});
  eventually<expected<pull_stats>> ended;
  ranks.pull_all(right, receiver, ended.callback());
  BOOST_REQUIRE(written(ranks.here, std::byte{0xee}));
  return ended;
}

/// Another process takes the place of one that failed.
void expect_useful(couple& ranks) {
  plane_process healthy{PLANE_PEER, options_for(instance_role::context, ranks.here.shape,
                                                ranks.memories.source, ranks.plane)};
  ranks.meet(healthy);
  blank(ranks.here, std::byte{0xee});
  eventually<expected<pull_stats>> good;
  ranks.pull_all(ranks.ask_for_all(healthy), session_key{5}, good.callback());
  const auto result = good.get();
  BOOST_REQUIRE(result);
  BOOST_TEST_INFO((*result ? "" : to_string(result->error())));
  BOOST_TEST(result->has_value());
  BOOST_TEST(ranks.all_arrived());
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_plane_processes, *boost::unit_test::precondition(a_gpu))

BOOST_DATA_TEST_CASE(bytes_arrive_from_another_process, data::make(pairings)) {
  couple ranks{{.layers = 8}, sample};
  ranks.here.fill(2);
  if (sample.source == cuda_malloc)
    BOOST_TEST(ranks.reason == "same host, GPU memory through CUDA IPC, which is writable");
  if (sample.source == device)
    BOOST_TEST(ranks.reason == "same host, GPU memory mapped read-only");
  eventually<expected<pull_stats>> ended;
  ranks.pull_all(ranks.ask_for_all(ranks.there), receiver, ended.callback());
  const auto result = ended.get();
  BOOST_REQUIRE(result);
  BOOST_REQUIRE_MESSAGE(*result, (*result ? "" : to_string(result->error())));
  BOOST_TEST(ranks.all_arrived());
}

BOOST_DATA_TEST_CASE(a_source_that_is_killed_under_a_kernel_is_lost_or_outlived,
                     data::make(sources)) {
  couple ranks{medium_cache, {sample, device}};
  const auto right = ranks.ask_for_all(ranks.there);
  auto ended = begin_and_see(ranks, right);
  ranks.there.signal(SIGKILL);
  const auto result = ended.get(std::chrono::seconds{5});
  BOOST_REQUIRE(result);
  if (*result)
    BOOST_TEST(ranks.all_arrived());
  else
    BOOST_TEST(to_string(result->error().code) == "peer_lost");
  BOOST_TEST(retired(*ranks.here.plane, receiver, std::chrono::seconds{1}));
  ranks.here.plane->forget(ranks.there.life());
  expect_useful(ranks);
}

/// What is read after the owner's death is right where the memory outlives it, and not believed
/// where nobody promises that.
BOOST_DATA_TEST_CASE(a_pull_from_a_dead_source_ends, data::make(sources)) {
  couple ranks{medium_cache, {sample, device}};
  const auto right = ranks.ask_for_all(ranks.there);
  ranks.there.end();
  eventually<expected<pull_stats>> ended;
  ranks.pull_all(right, receiver, ended.callback());
  const auto result = ended.get(std::chrono::seconds{5});
  BOOST_REQUIRE(result);
  if (sample == cuda_malloc) {
    BOOST_REQUIRE(!*result);
    BOOST_TEST(to_string(result->error().code) == "peer_lost");
  } else {
    BOOST_REQUIRE_MESSAGE(*result, (*result ? "" : to_string(result->error())));
    BOOST_TEST(ranks.all_arrived());
  }
}

BOOST_DATA_TEST_CASE(a_stopped_source_is_read_all_the_same, data::make(sources)) {
  couple ranks{medium_cache, {sample, device}};
  const auto right = ranks.ask_for_all(ranks.there);
  ranks.there.signal(SIGSTOP);
  eventually<expected<pull_stats>> ended;
  ranks.pull_all(right, receiver, ended.callback());
  const auto result = ended.get();
  BOOST_REQUIRE(result);
  BOOST_REQUIRE_MESSAGE(*result, (*result ? "" : to_string(result->error())));
  BOOST_TEST(ranks.all_arrived());
  auto second = begin_and_see(ranks, right);
  BOOST_TEST(retired(*ranks.here.plane, receiver, std::chrono::seconds{1}));
  BOOST_TEST(second.ready());
  expect_useful(ranks);
}

BOOST_DATA_TEST_CASE(a_source_that_revokes_under_a_kernel_is_believed, data::make(sources)) {
  couple ranks{large_cache, {sample, device}};
  const auto right = ranks.ask_for_all(ranks.there);
  auto ended = begin_and_see(ranks, right);
  BOOST_REQUIRE(ranks.there.ask("revoke_all") == "ok");
  const auto result = ended.get();
  BOOST_REQUIRE((result && !*result));
  BOOST_TEST(to_string(result->error().code) == "lease_revoked");
}

// -- the ucx lane
// ------------------------------------------------------------------------------------

BOOST_DATA_TEST_CASE(chunks_go_from_gpu_to_gpu, data::make(sources)) {
  couple ranks{{.layers = 8}, {sample, device}, ucx_options()};
  ranks.here.fill(2);
  eventually<expected<pull_stats>> ended;
  ranks.pull_all(ranks.ask_for_all(ranks.there), receiver, ended.callback());
  const auto result = ended.get();
  BOOST_REQUIRE(result);
  BOOST_REQUIRE_MESSAGE(*result, (*result ? "" : to_string(result->error())));
  BOOST_TEST(to_string((*result)->lane.lane) == "ucx");
  BOOST_TEST(ranks.all_arrived());
}

BOOST_AUTO_TEST_CASE(a_source_that_is_killed_under_chunks_is_lost) {
  couple ranks{medium_cache, {device, device}, ucx_options()};
  auto ended = begin_and_see(ranks, ranks.ask_for_all(ranks.there));
  ranks.there.signal(SIGKILL);
  const auto result = ended.get(std::chrono::seconds{10});
  BOOST_REQUIRE(result);
  if (*result)
    BOOST_TEST(ranks.all_arrived());
  BOOST_TEST(retired(*ranks.here.plane, receiver, std::chrono::seconds{1}));
  ranks.here.plane->forget(ranks.there.life());
  expect_useful(ranks);
}

BOOST_AUTO_TEST_CASE(a_pull_from_a_stopped_source_can_be_cancelled) {
  couple ranks{medium_cache, {device, device}, ucx_options()};
  auto ended = begin_and_see(ranks, ranks.ask_for_all(ranks.there));
  ranks.there.signal(SIGSTOP);
  BOOST_TEST(retired(*ranks.here.plane, receiver, std::chrono::seconds{1}));
  BOOST_TEST(ended.ready());
  blank(ranks.here, std::byte{7});
  expect_useful(ranks);
}

// -- the source's side
// -------------------------------------------------------------------------------

BOOST_DATA_TEST_CASE(a_stopped_or_killed_reader_does_not_hold_up_the_source,
                     data::make(sources) * data::make({SIGSTOP, SIGKILL}), memory, signal) {
  const auto context = gpu_rank(medium_cache, instance_role::context, memory, slow_options());
  plane_process reader{PLANE_PEER, options_for(instance_role::generation, medium_cache, device)};
  auto layout = cache_layout(medium_cache, instance_role::generation, reader.life());
  place(layout, device, gpu_of(instance_role::generation));
  BOOST_REQUIRE(introduce(*context.plane, card_of(context.layout, layout, reader.manifest())));
  const auto met = reader.ask(
      fmt::format("peer {} {} {} {}", context.life().value, to_hex(context.plane->manifest()),
                  static_cast<int>(memory), gpu_of(instance_role::context)));
  BOOST_REQUIRE_MESSAGE(met == "ok mapped", met);
  const auto all = all_blocks(medium_cache);
  const auto right =
      context.plane->grant(sender, whole_blocks(medium_cache, reader.life(), all)).value();
  BOOST_REQUIRE(reader.ask(sentence(fmt::format("pull {} {}", right.slot, right.epoch), all)) ==
                "ok");
  reader.signal(signal);
  BOOST_TEST(retired(*context.plane, sender, std::chrono::seconds{1}));
  BOOST_TEST(context.plane->granted() == 0u);
  context.fill(3);
  BOOST_TEST(context.holds(7, 7, 3));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
