// The converting kernels against the rules of the host, bit by bit.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "messages/conversion.hpp"
#include "tests/support/conversions.hpp"
#include "tests/support/gpu_pools.hpp"
#include "tests/support/needs_gpu.hpp"

using namespace baton;
using baton::test::by_the_rules;
using baton::test::read_element;
using baton::test::write_element;

namespace {

template <class T>
T need(expected<T> value) {
  BOOST_REQUIRE_MESSAGE(value, (value ? std::string{} : to_string(value.error())));
  return std::move(*value);
}

void need(const expected<>& value) {
  BOOST_REQUIRE_MESSAGE(value, (value ? std::string{} : to_string(value.error())));
}

using memory = std::vector<std::byte>;

device_buffer upload(const memory& bytes) {
  auto made = need(device_buffer::create(0, bytes.size()));
  need(copy_now(made.data(), bytes.data(), bytes.size()));
  return made;
}

memory download(const device_buffer& from, std::size_t bytes) {
  memory copy(bytes);
  need(copy_now(copy.data(), from.data(), bytes));
  return copy;
}

/// A template with lanes of several conversions over the same two pools, and its pairs of slots.
struct work {
  std::vector<copy_run> runs;
  std::vector<element_conversion> lanes;
  std::uint64_t source_stride = 0;
  std::uint64_t destination_stride = 0;
  std::vector<copy_pair> pairs;

  [[nodiscard]] std::shared_ptr<const copy_plan>
  plan(copy_engine& engine, copy_way way, const std::byte* source, std::byte* destination) const {
    std::vector<copy_lane> made;
    for (const auto& as : lanes)
      made.push_back({source, destination, source_stride, destination_stride, as});
    auto shape = need(engine.make_shape(way, runs, made));
    auto kept = std::make_shared<std::vector<copy_pair>>(pairs);
    return std::make_shared<const copy_plan>(
        std::vector<copy_part>{{std::move(shape), std::span{*kept}}}, kept);
  }

  /// Calls `visit(as, source, destination, bytes, position)` in stream order.
  template <class Visit>
  void for_each_run(Visit&& visit) const {
    std::uint64_t position = 0;
    for (const auto& pair : pairs)
      for (const auto& run : runs) {
        visit(lanes[run.lane], run.source + pair.source * source_stride,
              run.destination + pair.destination * destination_stride, run.bytes, position);
        position += run.bytes;
      }
  }
};

void convert(const element_conversion& as, const std::byte* from, std::byte* to,
             std::uint64_t bytes) {
  const auto step = size_of(as.from);
  for (std::uint64_t i = 0; i < bytes / step; ++i)
    write_element(to + i * size_of(as.to), as.to,
                  by_the_rules(as, read_element(from + i * step, as.from)));
}

void run(copy_engine& engine, copy_order order) {
  const auto report = test::wait_for(engine, need(engine.launch(std::move(order))));
  BOOST_REQUIRE_MESSAGE(report.end == copy_end::whole,
                        (report.problem ? to_string(*report.problem) : std::string{"aborted"}));
}

std::uint64_t between(std::uint64_t least, std::uint64_t most, std::mt19937_64& random) {
  return least + random() % (most - least + 1);
}

element_conversion draw_conversion(std::mt19937_64& random) {
  if (random() % 4 == 0)
    return {};
  const auto types = conversions[random() % conversions.size()];
  const float factor = types.to == element_type::fp8_e4m3
                           ? std::ldexp(1.0f + static_cast<float>(random() % 8) / 8,
                                        static_cast<int>(random() % 20) - 10)
                           : 1.0f;
  return {types.from, types.to, factor};
}

constexpr std::uint64_t pool_bytes = 4u << 20;

/// Runs of lanes in turns, aligned to 16 bytes on both sides or to nothing.
work draw_work(std::mt19937_64& random, bool aligned) {
  work made;
  for (std::uint64_t i = 0; i < between(1, 4, random); ++i)
    made.lanes.push_back(draw_conversion(random));
  std::uint64_t end = 0;
  std::uint64_t longest = 0;
  for (std::uint64_t i = 0; i < between(1, 40, random); ++i) {
    copy_run run;
    run.lane = static_cast<std::uint32_t>(random() % made.lanes.size());
    const auto& as = made.lanes[run.lane];
    const auto elements = random() % 6 == 0 ? between(1, 12'000, random) : between(1, 150, random);
    run.bytes = aligned ? (elements + 15) / 16 * 64 : elements * size_of(as.from);
    run.destination = aligned ? (end + 63) / 64 * 64 : end + random() % 30;
    end = run.destination + as.written(run.bytes);
    longest = std::max(longest, run.bytes);
    made.runs.push_back(run);
  }
  made.destination_stride = (end + 63) / 64 * 64;
  made.source_stride = (longest + 4096) / 64 * 64;
  for (auto& run : made.runs) {
    run.source = random() % (made.source_stride - run.bytes);
    run.source = aligned ? run.source / 16 * 16 : run.source;
  }
  const auto targets = pool_bytes / made.destination_stride;
  for (std::uint32_t i = 0; i < std::min<std::uint64_t>(targets, 300); ++i)
    made.pairs.push_back(
        {static_cast<std::uint32_t>(random() % (pool_bytes / made.source_stride)), i});
  std::ranges::shuffle(made.pairs, random);
  return made;
}

/// Every number of 16 bits, and of fp32 all exponents with many mantissas.
memory inputs_of(element_type type, std::mt19937_64& random) {
  if (type == element_type::fp32) {
    memory all(8u << 20);
    for (std::size_t i = 0; i < all.size() / 4; ++i) {
      auto bits = static_cast<std::uint32_t>(i << 12 | (random() & 0xfff));
      if (i % 4 == 0) // ties, and what lies beside them
        bits = (bits & 0xfffff000u) + static_cast<std::uint32_t>(random() % 3) - 1;
      write_element(&all[4 * i], type, bits);
    }
    return all;
  }
  memory all(2u << 16);
  for (std::uint32_t i = 0; i < 1u << 16; ++i)
    write_element(&all[2 * std::size_t{i}], type, i);
  return all;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_conversions, *boost::unit_test::precondition(test::a_gpu))

BOOST_AUTO_TEST_CASE(kernels_give_the_same_bits_as_the_host) {
  std::mt19937_64 random{test::test_seed()};
  auto engine = need(copy_engine::create({}));
  for (const auto& [from, to] : conversions) {
    const auto inputs = inputs_of(from, random);
    const auto source = upload(inputs);
    for (const float factor : {1.0f, 1.0f / 0.0371f, 0x1p90f, 0x1p-90f}) {
      if (factor != 1 && to != element_type::fp8_e4m3)
        continue;
      const element_conversion as{from, to, factor};
      memory wanted(as.written(inputs.size()) + 16, std::byte{0x5a});
      for (const std::uint64_t off : {0u, 1u}) { // by units, and by single elements
        std::ranges::fill(wanted, std::byte{0x5a});
        const auto destination = upload(wanted);
        convert(as, inputs.data(), wanted.data() + off, inputs.size());
        work all{.runs = {{.destination = off, .bytes = inputs.size()}},
                 .lanes = {as},
                 .source_stride = 0,
                 .destination_stride = 0,
                 .pairs = {{0, 0}}};
        const auto plan =
            all.plan(engine, copy_way::pool_to_pool, source.data(), destination.data());
        run(engine, {.plan = plan, .end = plan->bytes()});
        const auto got = download(destination, wanted.size());
        for (std::size_t i = 0; i < got.size(); ++i)
          if (got[i] != wanted[i]) {
            const auto element = (i - off) / size_of(to);
            BOOST_TEST_REQUIRE(
                false, fmt::format("{} to {} times {}, off by {}: {:x} became {:x}, not {:x}",
                                   to_string(from), to_string(to), factor, off,
                                   read_element(&inputs[element * size_of(from)], from),
                                   read_element(&got[off + element * size_of(to)], to),
                                   read_element(&wanted[off + element * size_of(to)], to)));
          }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(pulls_of_mixed_shapes_are_what_a_loop_over_elements_would_do) {
  std::mt19937_64 random{test::test_seed()};
  const auto bytes = test::random_bytes(pool_bytes, random);
  const auto source = upload(bytes);
  for (const auto path : {copy_path::automatic, copy_path::load_store}) {
    auto engine = need(copy_engine::create({.path = path}));
    for (int round = 0; round < 40; ++round) {
      const auto drawn = draw_work(random, round % 2 == 0);
      memory wanted(pool_bytes, std::byte{0x5a});
      const auto destination = upload(wanted);
      drawn.for_each_run([&](const element_conversion& as, std::uint64_t from, std::uint64_t to,
                             std::uint64_t size, std::uint64_t) {
        convert(as, bytes.data() + from, wanted.data() + to, size);
      });
      const auto plan =
          drawn.plan(engine, copy_way::pool_to_pool, source.data(), destination.data());
      run(engine, {.plan = plan, .end = plan->bytes()});
      BOOST_TEST_INFO("round " << round);
      BOOST_REQUIRE((download(destination, pool_bytes) == wanted));
    }
  }
}

BOOST_AUTO_TEST_CASE(windows_of_a_scatter_convert_their_elements_and_no_others) {
  std::mt19937_64 random{test::test_seed()};
  auto engine = need(copy_engine::create({}));
  for (int round = 0; round < 60; ++round) {
    const auto drawn = draw_work(random, round % 2 == 0);
    std::vector<std::uint64_t> borders; // where a window may begin or end
    std::uint64_t end = 0;
    drawn.for_each_run([&](const element_conversion& as, std::uint64_t, std::uint64_t,
                           std::uint64_t size, std::uint64_t position) {
      borders.push_back(position);
      borders.push_back(position + random() % (size / size_of(as.from)) * size_of(as.from));
      end = position + size;
    });
    borders.push_back(end);
    auto begin = borders[random() % borders.size()];
    end = borders[random() % borders.size()];
    if (begin > end)
      std::swap(begin, end);
    if (begin == end)
      continue;
    const auto stream = test::random_bytes(end - begin, random);
    memory wanted(pool_bytes, std::byte{0x5a});
    const auto destination = upload(wanted);
    drawn.for_each_run([&](const element_conversion& as, std::uint64_t, std::uint64_t to,
                           std::uint64_t size, std::uint64_t position) {
      const auto first = std::max(position, begin);
      const auto last = std::min(position + size, end);
      if (first < last)
        convert(as, stream.data() + (first - begin),
                wanted.data() + to + as.written(first - position), last - first);
    });
    const std::size_t shift = round % 3 == 0 ? 3 : 0;
    memory staged(stream.size() + shift);
    std::ranges::copy(stream, staged.begin() + static_cast<std::ptrdiff_t>(shift));
    const auto buffer = upload(staged);
    const auto plan = drawn.plan(engine, copy_way::stream_to_pool, nullptr, destination.data());
    run(engine, {.plan = plan, .begin = begin, .end = end, .buffer = buffer.data() + shift});
    BOOST_TEST_INFO("round " << round);
    BOOST_REQUIRE((download(destination, pool_bytes) == wanted));
  }
}

BOOST_AUTO_TEST_CASE(shapes_that_cannot_be_are_refused) {
  auto engine = need(copy_engine::create({}));
  auto pool = need(device_buffer::create(0, 4096));
  const auto refused = [&](element_conversion as, std::uint64_t bytes, copy_way way) {
    const copy_lane lane{pool.data(), pool.data(), 0, 0, as};
    const copy_run run{.bytes = bytes};
    const auto made = engine.make_shape(way, {&run, 1}, {&lane, 1});
    return made ? std::string{"made"} : std::string{to_string(made.error().code)};
  };
  constexpr element_conversion good{element_type::bf16, element_type::fp32, 1};
  BOOST_TEST(refused(good, 16, copy_way::pool_to_pool) == "made");
  BOOST_TEST(refused(good, 15, copy_way::pool_to_pool) == "invalid_argument");
  BOOST_TEST(refused(good, 16, copy_way::pool_to_stream) == "invalid_argument");
  BOOST_TEST(refused({element_type::int8, element_type::fp32, 1}, 16, copy_way::pool_to_pool) ==
             "invalid_argument");
}

BOOST_AUTO_TEST_SUITE_END()
