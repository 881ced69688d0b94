// Another process that uses memory of the test's GPU.
//   gpu_peer read-vmm  FD BYTES DEVICE   maps read-only, copies by a kernel; prints the sum of the
//   words gpu_peer write-vmm FD BYTES DEVICE   maps read-only and writes: prints how the launch
//   ended gpu_peer read-ipc  HEX OFFSET BYTES DEVICE
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "gpu/ipc.hpp"
#include "gpu/vmm.hpp"
#include "tests/support/gpu_pools.hpp"

using namespace baton;

namespace {

[[noreturn]] void give_up(const error& problem) {
  fmt::print("error {}\n", to_string(problem));
  std::exit(1);
}

template <class T>
T need(expected<T> value) {
  if (!value)
    give_up(value.error());
  return std::move(*value);
}

std::uint64_t number(const char* text) {
  return std::strtoull(text, nullptr, 0);
}

/// Pulls all of `source` by a kernel.
std::vector<std::uint64_t> fetch(int device, const std::byte* source, std::size_t bytes) {
  auto engine = need(copy_engine::create({.device = device}));
  auto target = need(device_buffer::create(device, bytes));
  const copy_run all{.bytes = bytes};
  const copy_lane lane{source, target.data(), 0, 0};
  auto shape = need(engine.make_shape(copy_way::pool_to_pool, {&all, 1}, {&lane, 1}));
  const std::vector<copy_pair> pairs(1);
  auto plan = std::make_shared<const copy_plan>(std::vector<copy_part>{{shape, pairs}}, nullptr);
  const auto ticket = need(engine.launch({.plan = plan, .end = bytes}));
  const auto report = test::wait_for(engine, ticket);
  if (report.end != copy_end::whole)
    give_up(report.problem.value_or(error{errc::gpu_failed, "not whole"}));
  std::vector<std::uint64_t> words(bytes / 8);
  if (auto done = copy_now(words.data(), target.data(), bytes); !done)
    give_up(done.error());
  return words;
}

void print_sum(const std::vector<std::uint64_t>& words) {
  fmt::print("sum {}\n", std::accumulate(words.begin(), words.end(), std::uint64_t{0}));
}

vmm_mapping map(char** words) {
  const vmm_piece piece{std::atoi(words[0]), number(words[1])};
  return need(vmm_mapping::map(std::atoi(words[2]), {&piece, 1}));
}

void write_to_read_only(int device, std::byte* target) {
  auto engine = need(copy_engine::create({.device = device}));
  auto source = need(device_buffer::create(device, 4096));
  const copy_run run{.bytes = 4096};
  const copy_lane lane{nullptr, target, 0, 0};
  auto shape = need(engine.make_shape(copy_way::stream_to_pool, {&run, 1}, {&lane, 1}));
  const std::vector<copy_pair> pairs(1);
  auto plan = std::make_shared<const copy_plan>(std::vector<copy_part>{{shape, pairs}}, nullptr);
  const auto ticket = need(engine.launch({.plan = plan, .end = 4096, .buffer = source.data()}));
  const auto report = test::wait_for(engine, ticket);
  const auto problem = report.problem.value_or(error{});
  fmt::print("{} {}\n", report.end == copy_end::failed ? "failed" : "ended", to_string(problem));
  std::fflush(stdout); // what follows runs in a broken CUDA context
}

ipc_range range_of(const std::string& hex, std::uint64_t offset, std::uint64_t bytes) {
  ipc_range range{.offset = offset, .bytes = bytes};
  for (std::size_t i = 0; i < range.handle.size(); ++i) {
    unsigned value = 0;
    std::from_chars(&hex[2 * i], &hex[2 * i + 2], value, 16);
    range.handle[i] = static_cast<std::byte>(value);
  }
  return range;
}

} // namespace

int main(int count, char** words) {
  const std::string what = count > 1 ? words[1] : "";
  if (what == "read-vmm" && count == 5) {
    const auto mapping = map(words + 2);
    print_sum(fetch(std::atoi(words[4]), mapping.data(), mapping.size()));
  } else if (what == "write-vmm" && count == 5) {
    const auto mapping = map(words + 2);
    write_to_read_only(std::atoi(words[4]), mapping.data());
  } else if (what == "read-ipc" && count == 6) {
    const auto range = range_of(words[2], number(words[3]), number(words[4]));
    const auto mapping = need(ipc_mapping::open(std::atoi(words[5]), range));
    print_sum(fetch(std::atoi(words[5]), mapping.data(), mapping.size()));
  } else {
    fmt::print("unknown words\n");
    return 2;
  }
  return 0;
}
