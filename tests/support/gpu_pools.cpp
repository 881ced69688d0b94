#include "tests/support/gpu_pools.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <thread>

#include <fmt/format.h>

namespace baton::test {
namespace {

std::uint64_t between(std::uint64_t least, std::uint64_t most, std::mt19937_64& random) {
  return std::uniform_int_distribution<std::uint64_t>{least, most}(random);
}

/// Bytes by which slots of a source may be longer than those of its destination.
constexpr std::uint64_t most_slack = 128;

/// Size, and by what source and destination are to be aligned.
struct run_form {
  std::uint64_t bytes = 0;
  std::uint64_t source_alignment = 1;
  std::uint64_t destination_alignment = 1;
};

run_form random_form(run_style style, std::mt19937_64& random) {
  switch (style) {
  case run_style::aligned: {
    const bool tiny = between(0, 3, random) == 0;
    return {16 * between(1, tiny ? 4 : 600, random), 16, 16};
  }
  case run_style::odd:
    return {between(1, 400, random), 1, 1};
  case run_style::bytes:
    return {1, 1, 1};
  case run_style::words: {
    const std::uint64_t word = std::uint64_t{2} << between(0, 2, random);
    return {word * between(1, 200, random), word, 16};
  }
  case run_style::huge:
    return {between(20'000, 120'000, random), 16, between(0, 1, random) == 0 ? 16u : 1u};
  case run_style::mixed:
    break;
  }
  return random_form(run_styles[between(0, std::size(run_styles) - 2, random)], random);
}

std::uint64_t align(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

template <class Visit>
void for_each_run(const random_part& part, Visit&& visit) {
  std::uint64_t position = 0;
  for (const copy_pair& pair : part.pairs) {
    for (const copy_run& run : part.runs) {
      visit(run.source + pair.source * part.source_stride,
            run.destination + pair.destination * part.destination_stride, run.bytes, position);
      position += run.bytes;
    }
  }
}

std::uint64_t new_seed() {
  const char* given = std::getenv("BATON_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  fmt::print("seed: BATON_SEED={}\n", seed);
  return seed;
}

} // namespace

std::uint64_t random_part::pair_bytes() const {
  return std::accumulate(runs.begin(), runs.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const copy_run& run) { return sum + run.bytes; });
}

random_part random_shape(run_style style, std::uint64_t pool_bytes, std::mt19937_64& random,
                         std::size_t most_pairs) {
  random_part part;
  // Less what a source slot may be longer, so that both pools hold one slot at least.
  const std::uint64_t most = (pool_bytes - most_slack) / 16 * 16;
  std::uint64_t end = 0;
  const std::uint64_t runs =
      style == run_style::huge ? between(1, 4, random) : between(1, 90, random);
  for (std::uint64_t i = 0; i < runs; ++i) {
    const run_form form = random_form(style, random);
    copy_run run;
    run.bytes = form.bytes;
    run.destination = align(end + between(0, 40, random), form.destination_alignment);
    if (run.destination + run.bytes > most && !part.runs.empty())
      break;
    run.bytes = std::min(run.bytes, most - run.destination);
    end = run.destination + run.bytes;
    part.runs.push_back(run);
  }
  // Sources may overlap and come in any order.
  part.destination_stride = align(end, 16);
  part.source_stride = part.destination_stride + 16 * between(0, most_slack / 16, random);
  for (copy_run& run : part.runs) {
    const std::uint64_t alignment = style == run_style::aligned ? 16
                                    : style == run_style::words ? 2
                                                                : 1;
    const std::uint64_t most = part.source_stride - run.bytes;
    run.source = between(0, most, random) / alignment * alignment;
    if (style == run_style::mixed && (run.bytes | run.destination) % 16 == 0)
      run.source = run.source / 16 * 16;
  }
  const std::uint64_t slots = pool_bytes / part.source_stride;
  std::vector<std::uint32_t> targets(pool_bytes / part.destination_stride);
  std::iota(targets.begin(), targets.end(), 0u);
  std::shuffle(targets.begin(), targets.end(), random);
  targets.resize(between(1, std::min(targets.size(), most_pairs), random));
  for (std::uint32_t target : targets)
    part.pairs.push_back({static_cast<std::uint32_t>(between(0, slots - 1, random)), target});
  return part;
}

void pull(const random_part& part, const std::byte* source, std::byte* destination) {
  for_each_run(part, [&](std::uint64_t from, std::uint64_t to, std::uint64_t bytes, std::uint64_t) {
    std::memcpy(destination + to, source + from, bytes);
  });
}

std::vector<std::byte> gather(const random_part& part, const std::byte* source) {
  std::vector<std::byte> stream(part.bytes());
  for_each_run(part,
               [&](std::uint64_t from, std::uint64_t, std::uint64_t bytes, std::uint64_t position) {
                 std::memcpy(stream.data() + position, source + from, bytes);
               });
  return stream;
}

void scatter(const random_part& part, const std::vector<std::byte>& stream, std::uint64_t begin,
             std::uint64_t end, std::byte* destination) {
  for_each_run(
      part, [&](std::uint64_t, std::uint64_t to, std::uint64_t bytes, std::uint64_t position) {
        const std::uint64_t first = std::max(position, begin);
        const std::uint64_t last = std::min(position + bytes, end);
        if (first < last)
          std::memcpy(destination + to + (first - position), stream.data() + first, last - first);
      });
}

std::vector<std::byte> random_bytes(std::size_t count, std::mt19937_64& random) {
  std::vector<std::byte> bytes(count);
  for (std::size_t at = 0; at < count; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(bytes.data() + at, &word, std::min(sizeof word, count - at));
  }
  return bytes;
}

std::uint64_t test_seed() {
  static const std::uint64_t seed = new_seed();
  return seed;
}

copy_report wait_for(copy_engine& engine, copy_ticket ticket) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (std::chrono::steady_clock::now() < deadline) {
    for (const copy_report& report : engine.poll())
      if (report.ticket == ticket)
        return report;
    std::this_thread::sleep_for(std::chrono::microseconds{20});
  }
  return {ticket, copy_end::failed, error{errc::timed_out, "the launch did not end within 10 s"}};
}

} // namespace baton::test
