// Both lanes between ranks that keep their caches in unlike types: in host memory, or in that of a
// GPU.
#include <cstring>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/stream.hpp"
#include "tests/support/conversions.hpp"
#include "tests/support/layouts.hpp"
#include "tests/support/needs_gpu.hpp"
#include "tests/support/planes.hpp"

namespace baton {

namespace {

namespace data = boost::unit_test::data;
using namespace test;

#ifdef CONVERT_ON_GPU
constexpr auto place_of_pools = pool_memory::device;
#else
constexpr auto place_of_pools = pool_memory::host;
#endif

boost::test_tools::assertion_result a_place(boost::unit_test::test_unit_id id) {
  if (place_of_pools == pool_memory::host)
    return true;
  return a_gpu(id);
}

constexpr element_type fp32 = element_type::fp32;
constexpr element_type bf16 = element_type::bf16;
constexpr element_type fp16 = element_type::fp16;
constexpr element_type fp8 = element_type::fp8_e4m3;

/// What differs between the two sides, and how they are reached.
struct setting {
  element_type from;
  element_type to;
  std::string over; ///< UCX transports; empty: the mapped lane
  std::uint32_t head_dim = 64;
  std::size_t chunk_bytes = 64 * 1024;
};

std::ostream& operator<<(std::ostream& out, const setting& one) {
  return out << to_string(one.from) << " -> " << to_string(one.to) << " of " << one.head_dim << ", "
             << (one.over.empty() ? "mapped" : one.over) << ", chunks of " << one.chunk_bytes;
}

const std::vector<setting> settings{
    {bf16, fp8, ""},
    {fp32, bf16, ""},
    {fp16, fp32, "", 5},
    {bf16, fp16, "", 7},
    {bf16, bf16, "", 7},
    {bf16, fp8, "posix,cma,self", 64, 512 * 1024},
    {fp32, fp8, "posix,cma,self", 5, 70'001},
    {bf16, fp32, "posix,self", 3, 4097},
    {fp32, fp16, "tcp"},
    {fp16, bf16, "tcp", 5, 9'999},
};

plane_options options_of(const setting& one) {
  plane_options options;
  options.lanes = one.over.empty() ? lane_policy::mapped : lane_policy::ucx;
  options.leases = 64;
  options.chunk_bytes = one.chunk_bytes;
  if (!one.over.empty())
    options.ucx_transports = one.over;
  if (one.over == "tcp")
    options.tcp_devices = "lo";
  return options;
}

constexpr std::uint32_t tokens = 480;

/// One rank over its own memory, and where one request lies in it.
struct converting_rank {
  rank_layout layout;
  std::shared_ptr<rank_plane> plane;
  std::vector<group_blocks> tables;

  converting_rank(rank_layout described, const plane_options& options, std::uint32_t seed)
      : layout{std::move(described)} {
    layout.life = random_id<incarnation>();
    place(layout, place_of_pools, 0);
    const auto& pool = layout.pools.at(0);
    std::vector<memory_pool> pools;
    if (pool.kind == memory_kind::cuda)
      pools.emplace_back(device_pool::create(0, pool.bytes()).value());
    else
      pools.emplace_back(host_pool::create(pool.bytes()).value());
    plane = rank_plane::create(layout.life, layout, std::move(pools), options).value();
    const auto blocks = tokens / layout.groups[0].tokens_per_block;
    tables = {{"full", 0, shuffled(blocks, static_cast<std::uint32_t>(pool.slots), seed)}};
    put(blank());
  }

  [[nodiscard]] std::vector<std::byte> blank() const {
    return std::vector<std::byte>(layout.pools[0].bytes(), std::byte{0xee});
  }
  void put(const std::vector<std::byte>& bytes) const {
    copy(plane->pool(0).data(), bytes.data(), bytes.size());
  }
  [[nodiscard]] std::vector<std::byte> get() const {
    auto bytes = blank();
    copy(bytes.data(), plane->pool(0).data(), bytes.size());
    return bytes;
  }
  /// What its pool is to hold, and nothing else.
  [[nodiscard]] std::vector<std::byte> content(element_type from) const {
    auto bytes = blank();
    write_content(layout, tables, {{"full", {0, tokens}}},
                  [&](const buffer_layout&) { return from; }, {bytes.data()});
    return bytes;
  }

private:
  void copy(std::byte* to, const std::byte* from, std::size_t bytes) const {
    if (layout.pools[0].kind == memory_kind::host)
      std::memcpy(to, from, bytes);
    else
      BOOST_REQUIRE(copy_now(to, from, bytes));
  }
};

rank_layout layout_of(const setting& one, instance_role role) {
  handoff::model_spec model;
  model.layers = 3;
  model.kv_heads = 4;
  model.head_dim = one.head_dim;
  const bool context = role == instance_role::context;
  model.type = context ? one.from : one.to;
  handoff::side_spec side;
  side.tokens_per_block = context ? 4 : 6;
  side.inner = context ? handoff::inner_order::hnd : handoff::inner_order::nhd;
  side.blocks = 150;
  auto ranks = tests::build(model, side, role);
  std::mt19937_64 random{one.head_dim};
  draw_scales(random, ranks);
  ranks.front().model = "sample";
  return ranks.front();
}

} // namespace

BOOST_AUTO_TEST_SUITE(converting_lanes, *boost::unit_test::precondition(a_place))

BOOST_DATA_TEST_CASE(every_element_arrives_converted_and_nothing_else_is_written,
                     data::make(settings)) {
  const auto options = options_of(sample);
  const converting_rank context{layout_of(sample, instance_role::context), options, 1};
  const converting_rank generation{layout_of(sample, instance_role::generation), options, 2};
  const std::vector<group_range> whole{{"full", {0, tokens}}};
  context.put(context.content(sample.from));
  BOOST_REQUIRE(introduce(
      *context.plane, card_of(context.layout, generation.layout, generation.plane->manifest())));
  const auto choice = introduce(
      *generation.plane, card_of(generation.layout, context.layout, context.plane->manifest()));
  BOOST_REQUIRE(choice);
  BOOST_TEST(to_string(choice->lane) == (sample.over.empty() ? "mapped" : "ucx"));
  const auto right =
      context.plane->grant(sender, {generation.layout.life, whole, context.tables}).value();
  eventually<expected<pull_stats>> ended;
  generation.plane->pull(receiver, {right.owner, right, whole, context.tables, generation.tables},
                         ended.callback());
  const auto stats = ended.get().value();
  BOOST_REQUIRE_MESSAGE(stats, to_string(stats ? error{} : stats.error()));
  BOOST_TEST(stats->bytes == 3u * 2 * 4 * sample.head_dim * tokens * size_of(sample.from));
  BOOST_TEST((generation.get() == generation.content(sample.from)));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
