// What gpu/ does without a GPU.
#include <boost/test/unit_test.hpp>

#include <numeric>

#include "gpu/copy_engine.hpp"
#include "gpu/cuda/launch_args.hpp"
#include "gpu/device.hpp"
#include "gpu/inspect.hpp"
#include "gpu/ipc.hpp"
#include "gpu/memory.hpp"
#include "gpu/vmm.hpp"
#include "tests/support/gpu_pools.hpp"

using namespace baton;

namespace {

std::byte pool[1];

std::vector<copy_tile> cut(std::vector<copy_run> runs) {
  const copy_lane lane{pool, pool, 1 << 20, 2 << 20};
  return cut_tiles(runs, {&lane, 1});
}

boost::test_tools::assertion_result no_gpu(boost::unit_test::test_unit_id /*id*/) {
  return gpu_count() == 0;
}

template <class T>
void check_absent(const expected<T>& answer) {
  BOOST_REQUIRE(!answer);
  BOOST_TEST(to_string(answer.error().code) == "gpu_failed");
  const auto& text = answer.error().text;
  BOOST_TEST((text.find("CUDA") != text.npos || text.find("cuda") != text.npos), text);
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu)

BOOST_AUTO_TEST_CASE(a_short_run_is_one_tile) {
  const auto tiles = cut({{.source = 5, .destination = 7, .bytes = 1, .lane = 0}});
  BOOST_REQUIRE(tiles.size() == 1u);
  BOOST_TEST(tiles[0].source == reinterpret_cast<std::uint64_t>(pool) + 5);
  BOOST_TEST(tiles[0].destination == reinterpret_cast<std::uint64_t>(pool) + 7);
  BOOST_TEST(tiles[0].source_stride == 1u << 20);
  BOOST_TEST(tiles[0].destination_stride == 2u << 20);
  BOOST_TEST(tiles[0].bytes == 1u);
}

BOOST_AUTO_TEST_CASE(runs_are_cut_at_the_limit_and_not_before) {
  for (std::uint64_t more : {0, 1}) {
    const auto tiles = cut({{.bytes = copy_tile_bytes + more}});
    BOOST_REQUIRE(tiles.size() == 1 + more);
    BOOST_TEST(tiles[0].bytes == copy_tile_bytes);
    BOOST_TEST(tiles.back().run_bytes == copy_tile_bytes + more);
  }
}

BOOST_AUTO_TEST_CASE(tiles_follow_each_other_in_the_stream) {
  std::mt19937_64 random{baton::test::test_seed()};
  for (auto style : baton::test::run_styles) {
    const auto part = baton::test::random_shape(style, 16u << 20, random);
    std::uint64_t position = 0;
    for (const copy_tile& tile : cut(part.runs)) {
      BOOST_REQUIRE(tile.position == position);
      BOOST_REQUIRE((tile.bytes > 0 && tile.bytes <= copy_tile_bytes));
      position += tile.bytes;
    }
    BOOST_TEST(position == part.pair_bytes());
  }
}

BOOST_AUTO_TEST_CASE(a_plans_stream_is_its_parts_end_to_end) {
  const auto shape = [](std::uint64_t bytes) {
    return std::make_shared<const copy_shape>(copy_way::pool_to_pool, bytes, nullptr);
  };
  const std::vector<copy_pair> pairs(3);
  const copy_plan plan{{{shape(10), pairs}, {shape(7), std::span{pairs}.first(2)}}, nullptr};
  BOOST_TEST(plan.bytes() == 44u);
  BOOST_TEST(plan.starts() == (std::vector<std::uint64_t>{0, 30, 44}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_window_takes_the_items_that_touch_it_and_no_others) {
  std::mt19937_64 random{baton::test::test_seed()};
  for (int round = 0; round < 2000; ++round) {
    tile_list list;
    std::vector<std::uint64_t> sizes(1 + random() % 9);
    std::uint64_t bytes = 0;
    for (auto& size : sizes) {
      size = 1 + random() % 20;
      list.positions.push_back(bytes);
      bytes += size;
      list.ends.push_back(bytes);
    }
    const std::uint64_t pairs = 1 + random() % 4;
    const std::uint64_t stream = random() % 100;
    const std::uint64_t begin = stream + random() % bytes;
    const std::uint64_t last_pair = stream + (pairs - 1) * bytes;
    const std::uint64_t end = std::max(begin + 1, last_pair + 1 + random() % bytes);
    const copy_segment cut = cut_segment(list, pairs, stream, bytes, begin, end);
    const auto item = [&](std::uint64_t number) {
      const std::uint64_t at =
          stream + number / sizes.size() * bytes + list.positions[number % sizes.size()];
      return std::pair{at, at + sizes[number % sizes.size()]};
    };
    BOOST_REQUIRE((item(cut.first).first <= begin && begin < item(cut.first).second));
    const auto last = item(cut.first + cut.end - 1);
    BOOST_REQUIRE((last.first < end && end <= last.second));
  }
}

BOOST_AUTO_TEST_CASE(a_window_takes_of_some_tiles_those_that_touch_it) {
  // Tiles [10, 20) and [30, 40) of 50 bytes a pair; the others belong to another list.
  const tile_list list{.tiles = nullptr, .positions = {10, 30}, .ends = {20, 40}};
  struct window {
    std::uint64_t begin;
    std::uint64_t end;
    std::uint32_t first;
    std::uint32_t items;
  };
  for (const auto& [begin, end, first, items] : std::vector<window>{{0, 100, 0, 4},
                                                                    {0, 60, 0, 2},
                                                                    {19, 61, 0, 3},
                                                                    {20, 61, 1, 2},
                                                                    {40, 60, 2, 0},
                                                                    {45, 65, 2, 1}}) {
    const auto cut = cut_segment(list, 2, 0, 50, begin, end);
    BOOST_TEST(cut.first == first);
    BOOST_TEST(cut.end == items);
  }
  BOOST_TEST(cut_segment(list, 1, 0, 50, 20, 30).end == 0u);
}

BOOST_AUTO_TEST_CASE(runs_are_cut_by_what_becomes_of_them) {
  constexpr element_conversion to_fp8{element_type::fp32, element_type::fp8_e4m3, 0.5f};
  const copy_lane lanes[] = {{pool, pool, 0, 0, {}}, {pool, pool, 0, 0, to_fp8}};
  const std::vector<copy_run> runs{{.bytes = 3, .lane = 0},
                                   {.destination = 5, .bytes = copy_tile_bytes + 4, .lane = 1},
                                   {.bytes = 9, .lane = 0}};
  const auto copied = cut_tiles(runs, lanes);
  BOOST_REQUIRE(copied.size() == 2u);
  BOOST_TEST(copied[1].position == 3 + copy_tile_bytes + 4);
  const auto converted = cut_tiles(runs, lanes, {to_fp8.from, to_fp8.to});
  BOOST_REQUIRE(converted.size() == 2u);
  BOOST_TEST(converted[1].position == 3 + copy_tile_bytes);
  BOOST_TEST(converted[1].destination - converted[0].destination == copy_tile_bytes / 4);
  BOOST_TEST(converted[1].bytes == 4u);
  BOOST_TEST(converted[1].factor == 0.5f);
  BOOST_TEST(cut_tiles(runs, lanes, conversions[0]).empty());
}

BOOST_AUTO_TEST_CASE(small_jobs_take_few_blocks_and_large_ones_all) {
  BOOST_TEST(size_launch(1, 1, 1, 16, 4).blocks == 1u);
  BOOST_TEST(size_launch(1, 1, 1, 16, 4).batch == 1u);
  const launch_size large = size_launch(1u << 20, 8ull << 30, copy_tile_bytes, 16, 4);
  BOOST_TEST(large.blocks == 16u);
  BOOST_TEST(large.batch == 4u);
  BOOST_TEST(size_launch(1u << 20, 1u << 20, 1, 16, 4).batch == 32u);
}

BOOST_AUTO_TEST_CASE(host_memory_is_told_from_gpu_memory) {
  int here = 0;
  const auto facts = inspect_memory(&here, sizeof here);
  BOOST_REQUIRE(facts);
  BOOST_TEST(to_string(facts->origin) == "host memory");
  BOOST_TEST(facts->device == -1);
  BOOST_TEST(!facts->unshareable_reason.empty());
  BOOST_TEST(!inspect_memory(nullptr, 1));
  BOOST_TEST(!inspect_memory(&here, 0));
}

BOOST_AUTO_TEST_CASE(no_event_is_a_complete_event) {
  BOOST_TEST(is_complete({}).value());
}

BOOST_AUTO_TEST_CASE(without_a_gpu_every_factory_says_why,
                     *boost::unit_test::precondition(no_gpu)) {
  std::byte host[64];
  check_absent(describe_gpu(0));
  check_absent(gpu_stream::create(0));
  check_absent(gpu_event::create(0));
  check_absent(device_buffer::create(0, 1));
  check_absent(pinned_buffer::create(0, 1));
  check_absent(host_registration::create(0, host, gpu_access::read_write));
  check_absent(vmm_allocation::create(0, 1));
  check_absent(vmm_mapping::map(0, {}));
  check_absent(vmm_export::create(host, 1));
  check_absent(export_ipc(host, 1));
  check_absent(ipc_mapping::open(0, {}));
  check_absent(copy_engine::create({}));
}

BOOST_AUTO_TEST_SUITE_END()
