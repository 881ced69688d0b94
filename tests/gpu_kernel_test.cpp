// The kernels against an oracle on the host, and GPU memory between processes.
#include <boost/test/unit_test.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <numeric>

#include <fmt/format.h>

#include "gpu/device.hpp"
#include "gpu/inspect.hpp"
#include "gpu/ipc.hpp"
#include "gpu/vmm.hpp"
#include "tests/support/expandable_segment.hpp"
#include "tests/support/gpu_pools.hpp"
#include "tests/support/graph_capture.hpp"

using namespace baton;
using namespace std::chrono_literals;
using baton::test::random_part;
using baton::test::run_style;

namespace {

constexpr std::size_t pool_bytes = 8u << 20;
constexpr std::size_t many = 600; ///< pairs: more than fit into the arguments of a kernel
constexpr copy_path paths[] = {copy_path::automatic, copy_path::load_store, copy_path::bulk};

boost::test_tools::assertion_result a_gpu(boost::unit_test::test_unit_id /*id*/) {
  if (gpu_count() == 0)
    fmt::print("skipped: no GPU\n");
  return gpu_count() > 0;
}

boost::test_tools::assertion_result two_gpus(boost::unit_test::test_unit_id /*id*/) {
  return gpu_count() > 1;
}

template <class T>
T need(expected<T> value) {
  BOOST_REQUIRE_MESSAGE(value, (value ? std::string{} : to_string(value.error())));
  return std::move(*value);
}

void need(const expected<>& value) {
  BOOST_REQUIRE_MESSAGE(value, (value ? std::string{} : to_string(value.error())));
}

std::vector<std::byte> download(const std::byte* from, std::size_t bytes) {
  std::vector<std::byte> copy(bytes);
  need(copy_now(copy.data(), from, bytes));
  return copy;
}

/// A pool on a GPU and what it should hold.
struct mirrored {
  device_buffer gpu;
  std::vector<std::byte> host;

  mirrored(int device, std::size_t bytes, std::mt19937_64& random)
      : gpu{need(device_buffer::create(device, bytes))}, host{test::random_bytes(bytes, random)} {
    need(copy_now(gpu.data(), host.data(), bytes));
  }

  [[nodiscard]] bool as_expected() const { return download(gpu.data(), host.size()) == host; }
};

std::shared_ptr<const copy_plan> plan_of(copy_engine& engine, copy_way way,
                                         const std::vector<random_part>& parts,
                                         const std::byte* source, std::byte* destination) {
  auto pairs = std::make_shared<std::vector<std::vector<copy_pair>>>();
  pairs->reserve(parts.size());
  std::vector<copy_part> made;
  for (const random_part& part : parts) {
    const copy_lane lane{source, destination, part.source_stride, part.destination_stride};
    pairs->push_back(part.pairs);
    made.push_back({need(engine.make_shape(way, part.runs, {&lane, 1})), pairs->back()});
  }
  return std::make_shared<const copy_plan>(std::move(made), pairs);
}

void run(copy_engine& engine, copy_order order) {
  const copy_report report = test::wait_for(engine, need(engine.launch(std::move(order))));
  BOOST_REQUIRE_MESSAGE(report.end == copy_end::whole,
                        (report.problem ? to_string(*report.problem) : std::string{"aborted"}));
}

/// What a kernel of a GPU reads there. A mapping is made for kernels of one GPU: cudaMemcpy may
/// take another one for it.
std::vector<std::byte> read_by_kernel(int device, const std::byte* from, std::size_t bytes) {
  auto engine = need(copy_engine::create({.device = device}));
  auto target = need(device_buffer::create(device, bytes));
  const random_part all{.runs = {{.bytes = bytes}}, .pairs = {{0, 0}}};
  const auto plan = plan_of(engine, copy_way::pool_to_pool, {all}, from, target.data());
  run(engine, {.plan = plan, .end = bytes});
  return download(target.data(), bytes);
}

bool able(copy_path path) {
  return path != copy_path::bulk || need(describe_gpu(0)).compute_major >= 9;
}

/// One large run, repeated, so that a launch takes a while: `gigabytes` from and to 256 MiB.
struct long_job {
  static constexpr std::size_t slot = 1u << 20;
  static constexpr std::uint32_t slots = 256;

  device_buffer source = need(device_buffer::create(0, slots* slot));
  device_buffer destination = need(device_buffer::create(0, slots* slot));
  std::shared_ptr<const copy_plan> plan;

  long_job(copy_engine& engine, std::size_t gigabytes) {
    random_part part;
    part.source_stride = part.destination_stride = slot;
    part.runs = {{.bytes = slot}};
    for (std::uint32_t i = 0; i < gigabytes * 1024; ++i)
      part.pairs.push_back({i % slots, i % slots});
    plan = plan_of(engine, copy_way::pool_to_pool, {part}, source.data(), destination.data());
  }
};

/// Fills memory over and over, so that a stream is busy for some tens of milliseconds.
gpu_event busy_producer(gpu_stream_ref stream, device_buffer& memory) {
  for (int round = 0; round < 300; ++round)
    need(fill_async(memory.data(), static_cast<std::byte>(round), memory.size(), stream));
  need(fill_async(memory.data(), std::byte{0x5a}, memory.size(), stream));
  auto event = need(gpu_event::create(0));
  need(event.record(stream));
  return event;
}

/// Runs the helper program that lies beside this one, and returns the line that it prints.
std::string ask_peer(const std::string& words) {
  const auto program = std::filesystem::read_symlink("/proc/self/exe").replace_filename("gpu_peer");
  const std::string command = fmt::format("timeout 60 {} {} 2>/dev/null", program.string(), words);
  std::FILE* pipe = popen(command.c_str(), "r");
  BOOST_REQUIRE(pipe != nullptr);
  char line[4096] = {};
  static_cast<void>(std::fgets(line, sizeof line, pipe));
  pclose(pipe);
  std::string answer{line};
  return answer.substr(0, answer.find('\n'));
}

std::string sum_line(const std::vector<std::byte>& bytes) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, &bytes[at], 8);
    sum += word;
  }
  return fmt::format("sum {}", sum);
}

/// A descriptor that survives exec, as popen's shell and the program after it need.
int inherited(int descriptor) {
  return dup(descriptor);
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_kernels, *boost::unit_test::precondition(a_gpu))

// -- what is copied
// ---------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(pulls_are_what_a_loop_of_copies_would_do) {
  std::mt19937_64 random{test::test_seed()};
  mirrored source{0, pool_bytes, random};
  mirrored destination{0, pool_bytes, random};
  for (copy_path path : paths) {
    if (!able(path))
      continue;
    auto engine = need(copy_engine::create({.path = path}));
    for (int round = 0; round < 60; ++round) {
      const run_style style =
          test::run_styles[static_cast<std::size_t>(round) % std::size(test::run_styles)];
      BOOST_TEST_CONTEXT("path " << static_cast<int>(path) << " round " << round) {
        std::vector<random_part> parts(1);
        parts[0] = test::random_shape(style, pool_bytes, random, many);
        test::pull(parts[0], source.host.data(), destination.host.data());
        const auto plan = plan_of(engine, copy_way::pool_to_pool, parts, source.gpu.data(),
                                  destination.gpu.data());
        run(engine, {.plan = plan, .end = plan->bytes()});
        BOOST_REQUIRE(destination.as_expected());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(pulls_from_a_peer_are_right_too, *boost::unit_test::precondition(two_gpus)) {
  std::mt19937_64 random{test::test_seed()};
  need(enable_peer_reads(0, 1));
  mirrored source{1, pool_bytes, random};
  mirrored destination{0, pool_bytes, random};
  for (copy_path path : paths) {
    if (!able(path))
      continue;
    auto engine = need(copy_engine::create({.path = path}));
    for (run_style style : test::run_styles) {
      const std::vector<random_part> parts{test::random_shape(style, pool_bytes, random)};
      test::pull(parts[0], source.host.data(), destination.host.data());
      const auto plan =
          plan_of(engine, copy_way::pool_to_pool, parts, source.gpu.data(), destination.gpu.data());
      run(engine, {.plan = plan, .end = plan->bytes()});
      BOOST_REQUIRE(destination.as_expected());
    }
  }
}

BOOST_AUTO_TEST_CASE(windows_of_a_gather_are_the_stream) {
  std::mt19937_64 random{test::test_seed()};
  mirrored source{0, pool_bytes, random};
  auto engine = need(copy_engine::create({}));
  auto buffer = need(device_buffer::create(0, 64u << 20));
  for (int round = 0; round < 60; ++round) {
    BOOST_TEST_CONTEXT("round " << round) {
      std::vector<random_part> parts(1 + random() % 3);
      std::vector<std::byte> stream;
      for (random_part& part : parts) {
        part = test::random_shape(test::run_styles[random() % std::size(test::run_styles)],
                                  pool_bytes, random, many);
        const auto piece = test::gather(part, source.host.data());
        stream.insert(stream.end(), piece.begin(), piece.end());
      }
      const auto plan =
          plan_of(engine, copy_way::pool_to_stream, parts, source.gpu.data(), nullptr);
      BOOST_REQUIRE(plan->bytes() == stream.size());
      const std::uint64_t begin = random() % stream.size();
      const std::uint64_t end = begin + 1 + random() % (stream.size() - begin);
      // The byte after the window must stay as it is.
      need(copy_now(buffer.data() + 3 + (end - begin), "x", 1));
      run(engine, {.plan = plan, .begin = begin, .end = end, .buffer = buffer.data() + 3});
      auto got = download(buffer.data() + 3, end - begin + 1);
      BOOST_REQUIRE(got.back() == std::byte{'x'});
      got.pop_back();
      BOOST_REQUIRE(
          std::equal(got.begin(), got.end(), stream.begin() + static_cast<std::ptrdiff_t>(begin)));
    }
  }
}

BOOST_AUTO_TEST_CASE(windows_of_a_scatter_touch_nothing_else) {
  std::mt19937_64 random{test::test_seed()};
  mirrored destination{0, pool_bytes, random};
  auto engine = need(copy_engine::create({}));
  auto buffer = need(device_buffer::create(0, 64u << 20));
  for (int round = 0; round < 60; ++round) {
    BOOST_TEST_CONTEXT("round " << round) {
      const std::vector<random_part> parts{test::random_shape(
          test::run_styles[random() % std::size(test::run_styles)], pool_bytes, random, many)};
      const auto plan =
          plan_of(engine, copy_way::stream_to_pool, parts, nullptr, destination.gpu.data());
      const auto stream = test::random_bytes(plan->bytes(), random);
      const std::uint64_t begin = random() % stream.size();
      const std::uint64_t end = begin + 1 + random() % (stream.size() - begin);
      test::scatter(parts[0], stream, begin, end, destination.host.data());
      need(copy_now(buffer.data() + 5, stream.data() + begin, end - begin));
      run(engine, {.plan = plan, .begin = begin, .end = end, .buffer = buffer.data() + 5});
      BOOST_REQUIRE(destination.as_expected());
    }
  }
}

BOOST_AUTO_TEST_CASE(a_million_one_byte_runs_are_one_shape) {
  std::mt19937_64 random{test::test_seed()};
  mirrored source{0, pool_bytes, random};
  mirrored destination{0, pool_bytes, random};
  random_part part{.source_stride = 0, .destination_stride = 0, .runs = {}, .pairs = {{0, 0}}};
  for (std::uint64_t i = 0; i < 1'000'000; ++i)
    part.runs.push_back(
        {.source = random() % pool_bytes, .destination = 8 * i + i % 7, .bytes = 1});
  auto engine = need(copy_engine::create({}));
  test::pull(part, source.host.data(), destination.host.data());
  const auto plan =
      plan_of(engine, copy_way::pool_to_pool, {part}, source.gpu.data(), destination.gpu.data());
  run(engine, {.plan = plan, .end = plan->bytes()});
  BOOST_TEST(destination.as_expected());
}

BOOST_AUTO_TEST_CASE(more_pairs_than_the_ring_holds_go_in_pieces) {
  std::mt19937_64 random{test::test_seed()};
  mirrored source{0, pool_bytes, random};
  mirrored destination{0, pool_bytes, random};
  auto engine = need(copy_engine::create({.ring_pairs = 300}));
  // Later parts may write what earlier ones have written, so each is a job of its own.
  for (int i = 0; i < 20; ++i) {
    const auto style = i % 2 == 0 ? run_style::bytes : run_style::odd;
    const std::vector<random_part> parts{test::random_shape(style, pool_bytes, random, 3000)};
    test::pull(parts[0], source.host.data(), destination.host.data());
    const auto plan =
        plan_of(engine, copy_way::pool_to_pool, parts, source.gpu.data(), destination.gpu.data());
    run(engine, {.plan = plan, .end = plan->bytes()});
  }
  BOOST_TEST(destination.as_expected());
}

BOOST_AUTO_TEST_CASE(any_number_of_pairs_is_brought_to_the_kernel) {
  std::mt19937_64 random{test::test_seed()};
  mirrored source{0, pool_bytes, random};
  mirrored destination{0, pool_bytes, random};
  auto engine = need(copy_engine::create({}));
  random_part part{
      .source_stride = 64, .destination_stride = 64, .runs = {{.bytes = 48}}, .pairs = {}};
  for (std::uint32_t count : {1u, 255u, 256u, 257u, 513u, 16'384u, 16'385u, 100'000u}) {
    part.pairs.clear();
    for (std::uint32_t i = 0; i < count; ++i)
      part.pairs.push_back({static_cast<std::uint32_t>(random() % (pool_bytes / 64)), i});
    std::shuffle(part.pairs.begin(), part.pairs.end(), random);
    test::pull(part, source.host.data(), destination.host.data());
    const auto plan =
        plan_of(engine, copy_way::pool_to_pool, {part}, source.gpu.data(), destination.gpu.data());
    run(engine, {.plan = plan, .end = plan->bytes()});
    BOOST_TEST_INFO(count << " pairs");
    BOOST_TEST(destination.as_expected());
  }
}

BOOST_AUTO_TEST_CASE(many_launches_at_once_all_end_whole) {
  std::mt19937_64 random{test::test_seed()};
  mirrored source{0, pool_bytes, random};
  mirrored destination{0, pool_bytes, random};
  auto engine = need(copy_engine::create({.streams = 3, .ring_pairs = 300}));
  // Each job has a slice of the destination to itself.
  constexpr std::uint64_t jobs = 50;
  constexpr std::uint64_t slice = pool_bytes / jobs / 16 * 16;
  std::vector<copy_ticket> open;
  for (std::uint64_t i = 0; i < jobs; ++i) {
    const auto part = test::random_shape(run_style::mixed, slice, random);
    test::pull(part, source.host.data(), destination.host.data() + i * slice);
    const auto plan = plan_of(engine, copy_way::pool_to_pool, {part}, source.gpu.data(),
                              destination.gpu.data() + i * slice);
    open.push_back(need(engine.launch({.plan = plan, .end = plan->bytes()})));
  }
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  std::size_t whole = 0;
  while (engine.open() > 0 && std::chrono::steady_clock::now() < deadline)
    for (const copy_report& report : engine.poll())
      whole += report.end == copy_end::whole ? 1 : 0;
  BOOST_TEST(whole == open.size());
  BOOST_TEST(destination.as_expected());
}

// -- when
// -------------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_graph_capture_of_another_thread_is_left_alone_and_disturbs_nothing) {
  test::graph_capture capture{0};
  auto engine = need(copy_engine::create({}));
  const long_job job{engine, 8};
  auto stream = need(gpu_stream::create(0));
  auto pinned = need(pinned_buffer::create(0, 4096));
  const auto ticket = need(engine.launch({.plan = job.plan, .end = job.plan->bytes()}));
  auto event = need(gpu_event::create(0));
  need(event.record(stream.ref()));
  need(finish(stream.ref(), 10s));
  BOOST_TEST(need(is_complete(event.ref())));
  BOOST_TEST((test::wait_for(engine, ticket).end == copy_end::whole));
  BOOST_TEST(capture.end());
}

BOOST_AUTO_TEST_CASE(host_memory_that_is_locked_already_is_used_as_it_is) {
  auto pinned = need(pinned_buffer::create(0, 1u << 20));
  {
    const auto used =
        need(host_registration::create(0, {pinned.data() + 4096, 8192}, gpu_access::read_write));
    BOOST_TEST((used.device_data() == pinned.device_data() + 4096));
    BOOST_TEST(used.size() == 8192u);
  }
  // It is still locked.
  BOOST_TEST(
      need(host_registration::create(0, {pinned.data(), pinned.size()}, gpu_access::read_write))
          .device_data() == pinned.device_data());
}

BOOST_AUTO_TEST_CASE(nothing_moves_before_the_event) {
  auto engine = need(copy_engine::create({}));
  auto stream = need(gpu_stream::create(0));
  auto source = need(device_buffer::create(0, 256u << 20));
  auto destination = need(device_buffer::create(0, 256u << 20));
  need(fill_async(destination.data(), std::byte{0}, destination.size(), stream.ref()));
  need(finish(stream.ref(), 10s));
  const random_part part{.source_stride = 0,
                         .destination_stride = 0,
                         .runs = {{.bytes = source.size()}},
                         .pairs = {{0, 0}}};
  const auto plan =
      plan_of(engine, copy_way::pool_to_pool, {part}, source.data(), destination.data());
  const auto event = busy_producer(stream.ref(), source);
  const auto ticket =
      need(engine.launch({.plan = plan, .end = plan->bytes(), .after = event.ref()}));
  int early = 0;
  for (;; ++early) {
    const bool before = need(is_complete(event.ref()));
    const bool ended = !engine.poll().empty();
    if (before)
      break;
    BOOST_REQUIRE(!ended);
  }
  BOOST_TEST(early > 10);
  if (engine.open() > 0)
    static_cast<void>(test::wait_for(engine, ticket));
  const auto got = download(destination.data(), destination.size());
  BOOST_TEST(std::ranges::all_of(got, [](std::byte value) { return value == std::byte{0x5a}; }));
}

BOOST_AUTO_TEST_CASE(an_abort_ends_a_running_launch_early) {
  for (copy_path path : paths) {
    if (!able(path))
      continue;
    auto engine = need(copy_engine::create({.path = path}));
    const long_job job{engine, 100};
    run(engine, {.plan = job.plan, .end = long_job::slot}); // loads the kernels
    const auto ticket = need(engine.launch({.plan = job.plan, .end = job.plan->bytes()}));
    const auto start = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() < start + 2ms)
      BOOST_REQUIRE(engine.poll().empty());
    engine.abort(ticket);
    const auto told = std::chrono::steady_clock::now();
    const copy_report report = test::wait_for(engine, ticket);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - told;
    fmt::print("path {}: aborted after {:.3f} ms\n", static_cast<int>(path), took.count());
    BOOST_TEST((report.end == copy_end::aborted));
    BOOST_TEST(took.count() < 5.0);
    // The engine goes on.
    run(engine, {.plan = job.plan, .end = job.plan->bytes() / 50});
  }
}

BOOST_AUTO_TEST_CASE(an_abort_stops_its_own_launch_only) {
  std::mt19937_64 random{test::test_seed()};
  mirrored source{0, pool_bytes, random};
  mirrored destination{0, pool_bytes, random};
  auto engine = need(copy_engine::create({.streams = 1}));
  const long_job job{engine, 100};
  // More rounds than launches wait in a stream, so that each abort word is used again.
  for (int round = 0; round < 12; ++round) {
    const std::vector<random_part> parts{
        test::random_shape(run_style::aligned, pool_bytes, random)};
    test::pull(parts[0], source.host.data(), destination.host.data());
    const auto plan =
        plan_of(engine, copy_way::pool_to_pool, parts, source.gpu.data(), destination.gpu.data());
    const auto stopped = need(engine.launch({.plan = job.plan, .end = job.plan->bytes()}));
    const auto kept = need(engine.launch({.plan = plan, .end = plan->bytes()}));
    engine.abort(stopped);
    BOOST_TEST((test::wait_for(engine, kept).end == copy_end::whole));
    BOOST_TEST(engine.open() == 0u);
    BOOST_TEST(destination.as_expected());
  }
}

BOOST_AUTO_TEST_CASE(an_abort_takes_a_waiting_launch_from_the_queue) {
  auto engine = need(copy_engine::create({}));
  auto stream = need(gpu_stream::create(0));
  auto memory = need(device_buffer::create(0, 256u << 20));
  const long_job job{engine, 1};
  const auto event = busy_producer(stream.ref(), memory);
  const auto ticket =
      need(engine.launch({.plan = job.plan, .end = job.plan->bytes(), .after = event.ref()}));
  BOOST_REQUIRE(engine.poll().empty());
  engine.abort(ticket);
  const auto reports = engine.poll();
  BOOST_REQUIRE(reports.size() == 1u);
  BOOST_TEST((reports[0].end == copy_end::aborted));
  BOOST_TEST(!need(is_complete(event.ref())));
  need(finish(stream.ref(), 10s));
}

BOOST_AUTO_TEST_CASE(an_engine_that_goes_away_ends_its_kernels) {
  auto engine = std::make_unique<copy_engine>(need(copy_engine::create({})));
  const long_job job{*engine, 200};
  static_cast<void>(need(engine->launch({.plan = job.plan, .end = job.plan->bytes()})));
  const auto start = std::chrono::steady_clock::now();
  engine.reset();
  BOOST_TEST((std::chrono::steady_clock::now() - start < 100ms));
}

BOOST_AUTO_TEST_CASE(nonsense_is_refused) {
  auto engine = need(copy_engine::create({}));
  auto other = need(copy_engine::create({}));
  auto memory = need(device_buffer::create(0, 4096));
  const copy_lane lane{memory.data(), memory.data(), 0, 0};
  const copy_run run{.bytes = 16};
  const auto code = [](const auto& answer) {
    return answer ? std::string{} : std::string{to_string(answer.error().code)};
  };
  const auto shape = [&](copy_run one, copy_lane of, copy_way way = copy_way::pool_to_pool) {
    return code(engine.make_shape(way, {&one, 1}, {&of, 1}));
  };
  BOOST_TEST(shape({.bytes = 0}, lane) == "invalid_argument");
  BOOST_TEST(shape({.bytes = 1, .lane = 1}, lane) == "invalid_argument");
  BOOST_TEST(shape(run, {}) == "invalid_argument");
  BOOST_TEST(code(engine.make_shape(copy_way::pool_to_pool, {}, {&lane, 1})) == "invalid_argument");

  const random_part part{.runs = {run}, .pairs = {{0, 0}}};
  const auto plan = plan_of(engine, copy_way::pool_to_stream, {part}, memory.data(), nullptr);
  BOOST_TEST(code(engine.launch({.plan = nullptr, .end = 1})) == "invalid_argument");
  BOOST_TEST(code(engine.launch({.plan = plan, .end = 16})) == "invalid_argument");
  BOOST_TEST(code(engine.launch({.plan = plan, .end = 17, .buffer = memory.data()})) ==
             "invalid_argument");
  BOOST_TEST(code(engine.launch({.plan = plan, .end = 0, .buffer = memory.data()})) ==
             "invalid_argument");
  BOOST_TEST(code(other.launch({.plan = plan, .end = 16, .buffer = memory.data()})) ==
             "invalid_argument");
  BOOST_TEST(code(copy_engine::create({.thread_blocks = 0})) == "invalid_argument");
  BOOST_TEST(code(copy_engine::create({.streams = 17})) == "invalid_argument");
  BOOST_TEST(code(copy_engine::create({.ring_pairs = 1})) == "invalid_argument");
  BOOST_TEST(code(copy_engine::create({.device = gpu_count()})) == "invalid_argument");
}

// -- memory
// -----------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(a_gpu_is_found_by_its_uuid) {
  const gpu_device first = need(describe_gpu(0));
  BOOST_TEST(first.uuid.starts_with("GPU-"));
  BOOST_TEST(first.uuid.size() == 40u);
  BOOST_TEST(need(find_gpu(first.uuid)).ordinal == 0);
  BOOST_TEST(!find_gpu("GPU-00000000-0000-0000-0000-000000000000"));
}

BOOST_AUTO_TEST_CASE(shared_memory_maps_in_a_row) {
  std::mt19937_64 random{test::test_seed()};
  const int reader = gpu_count() - 1;
  auto first = need(vmm_allocation::create(0, 5u << 20));
  auto second = need(vmm_allocation::create(0, 1));
  const auto bytes = test::random_bytes(6u << 20, random);
  need(copy_now(first.data(), bytes.data(), first.piece().bytes));
  const std::vector<vmm_piece> pieces{first.piece(), second.piece()};
  BOOST_TEST(pieces[1].bytes == 2u << 20);
  const auto mapping = need(vmm_mapping::map(reader, pieces));
  BOOST_TEST(mapping.size() == (8u << 20));
  BOOST_TEST((read_by_kernel(reader, mapping.data(), bytes.size()) == bytes));
}

BOOST_AUTO_TEST_CASE(a_mapping_outlives_the_allocation) {
  std::mt19937_64 random{test::test_seed()};
  auto owner = need(vmm_allocation::create(0, 2u << 20));
  const auto bytes = test::random_bytes(2u << 20, random);
  need(copy_now(owner.data(), bytes.data(), bytes.size()));
  const vmm_piece piece = owner.piece();
  const auto mapping = need(vmm_mapping::map(0, {&piece, 1}));
  owner = {};
  BOOST_TEST((read_by_kernel(0, mapping.data(), bytes.size()) == bytes));
}

BOOST_AUTO_TEST_CASE(a_foreign_descriptor_is_refused) {
  int ends[2];
  BOOST_REQUIRE(pipe(ends) == 0);
  for (vmm_piece piece :
       {vmm_piece{ends[0], 2u << 20}, vmm_piece{-1, 2u << 20}, vmm_piece{ends[0], 17}})
    BOOST_TEST(!vmm_mapping::map(0, {&piece, 1}));
  BOOST_TEST(!vmm_mapping::map(0, {}));
  close(ends[0]);
  close(ends[1]);
}

BOOST_AUTO_TEST_CASE(memory_is_told_by_its_origin) {
  auto plain = need(device_buffer::create(0, 3u << 20));
  const auto facts = need(inspect_memory(plain.data() + 100, 1000));
  BOOST_TEST(to_string(facts.origin) == "cudaMalloc memory");
  BOOST_TEST(facts.device == 0);
  BOOST_TEST(facts.start == plain.data());
  BOOST_TEST(facts.bytes >= plain.size());
  BOOST_TEST(facts.unshareable_reason == "");
  BOOST_TEST(!inspect_memory(plain.data(), facts.bytes + 1));

  auto shared = need(vmm_allocation::create(0, 3u << 20));
  const auto other = need(inspect_memory(shared.data(), shared.size()));
  BOOST_TEST((other.origin == memory_origin::device_vmm));
  BOOST_TEST(other.bytes == 4u << 20);
  BOOST_TEST(other.allocations == 1u);
  BOOST_TEST(other.unshareable_reason == "");

  auto pinned = need(pinned_buffer::create(0, 100));
  BOOST_TEST((need(inspect_memory(pinned.data(), 100)).origin == memory_origin::host));
}

BOOST_AUTO_TEST_CASE(a_range_over_two_allocations_is_exported_in_two_pieces) {
  std::mt19937_64 random{test::test_seed()};
  const auto segment = need(test::expandable_segment::create(0, {2u << 20, 4u << 20}));
  const auto bytes = test::random_bytes(segment.size(), random);
  need(copy_now(segment.data(), bytes.data(), bytes.size()));
  constexpr std::size_t offset = 1000;
  const auto facts = need(inspect_memory(segment.data() + offset, segment.size() - offset));
  BOOST_TEST(facts.allocations == 2u);
  BOOST_TEST(facts.bytes == segment.size());
  BOOST_TEST(facts.unshareable_reason == "");
  const auto exported = need(vmm_export::create(segment.data() + offset, segment.size() - offset));
  BOOST_REQUIRE(exported.pieces().size() == 2u);
  BOOST_TEST(exported.offset() == offset);
  const int reader = gpu_count() - 1;
  const auto mapping = need(vmm_mapping::map(reader, exported.pieces()));
  BOOST_TEST((read_by_kernel(reader, mapping.data(), bytes.size()) == bytes));
  BOOST_TEST(!vmm_export::create(segment.data(), segment.size() + 1));
}

BOOST_AUTO_TEST_CASE(a_mapping_of_somebody_elses_allocation_is_not_passed_on) {
  const auto owner = need(vmm_allocation::create(0, 2u << 20));
  const vmm_piece piece = owner.piece();
  const auto mapping = need(vmm_mapping::map(0, {&piece, 1}, gpu_access::read_write));
  const auto passed_on = vmm_export::create(mapping.data(), mapping.size());
  BOOST_REQUIRE(!passed_on);
  BOOST_TEST(to_string(passed_on.error().code) == "gpu_failed");
}

BOOST_AUTO_TEST_CASE(kernels_read_registered_host_memory) {
  std::mt19937_64 random{test::test_seed()};
  const int file = memfd_create("pool", 0);
  BOOST_REQUIRE(ftruncate(file, pool_bytes) == 0);
  auto* memory = static_cast<std::byte*>(
      mmap(nullptr, pool_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
  auto* view = static_cast<std::byte*>(mmap(nullptr, pool_bytes, PROT_READ, MAP_SHARED, file, 0));
  BOOST_REQUIRE((memory != MAP_FAILED && view != MAP_FAILED));
  const auto bytes = test::random_bytes(pool_bytes, random);
  std::memcpy(memory, bytes.data(), pool_bytes);
  for (gpu_access access : {gpu_access::read_write, gpu_access::read_only}) {
    auto* mapped = access == gpu_access::read_only ? view : memory;
    const auto registration = host_registration::create(0, {mapped, pool_bytes}, access);
    if (!registration && access == gpu_access::read_only) {
      fmt::print("read-only host memory: {}\n", registration.error().text);
      continue;
    }
    BOOST_REQUIRE_MESSAGE(registration, (registration ? std::string{} : registration.error().text));
    for (copy_path path : paths) {
      if (!able(path))
        continue;
      auto engine = need(copy_engine::create({.path = path}));
      mirrored destination{0, pool_bytes, random};
      const auto part = test::random_shape(run_style::aligned, pool_bytes, random);
      test::pull(part, bytes.data(), destination.host.data());
      const auto plan = plan_of(engine, copy_way::pool_to_pool, {part}, registration->device_data(),
                                destination.gpu.data());
      run(engine, {.plan = plan, .end = plan->bytes()});
      BOOST_TEST(destination.as_expected());
    }
  }
  munmap(memory, pool_bytes);
  munmap(view, pool_bytes);
  close(file);
}

// -- between processes
// ------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(another_process_reads_a_shared_allocation) {
  std::mt19937_64 random{test::test_seed()};
  auto owner = need(vmm_allocation::create(0, 4u << 20));
  const auto bytes = test::random_bytes(owner.size(), random);
  need(copy_now(owner.data(), bytes.data(), bytes.size()));
  const int descriptor = inherited(owner.piece().descriptor);
  for (int device = 0; device < gpu_count(); ++device)
    BOOST_TEST(ask_peer(fmt::format("read-vmm {} {} {}", descriptor, owner.piece().bytes,
                                    device)) == sum_line(bytes));
  close(descriptor);
}

BOOST_AUTO_TEST_CASE(a_stray_write_hurts_the_writer_and_not_the_owner) {
  std::mt19937_64 random{test::test_seed()};
  auto owner = need(vmm_allocation::create(0, 4u << 20));
  const auto bytes = test::random_bytes(owner.size(), random);
  need(copy_now(owner.data(), bytes.data(), bytes.size()));
  const int descriptor = inherited(owner.piece().descriptor);
  for (int device = 0; device < gpu_count(); ++device) {
    const auto answer =
        ask_peer(fmt::format("write-vmm {} {} {}", descriptor, owner.piece().bytes, device));
    BOOST_TEST(answer.starts_with("failed gpu_failed"), answer);
  }
  close(descriptor);
  BOOST_TEST((download(owner.data(), owner.size()) == bytes));
}

BOOST_AUTO_TEST_CASE(another_process_reads_plain_memory_by_ipc) {
  std::mt19937_64 random{test::test_seed()};
  mirrored owner{0, pool_bytes, random};
  constexpr std::size_t offset = 4096;
  const auto range = need(export_ipc(owner.gpu.data() + offset, pool_bytes - offset));
  std::string hex;
  for (std::byte value : range.handle)
    hex += fmt::format("{:02x}", static_cast<unsigned>(value));
  const std::vector<std::byte> expected_bytes(owner.host.begin() + offset, owner.host.end());
  for (int device = 0; device < gpu_count(); ++device)
    BOOST_TEST(ask_peer(fmt::format("read-ipc {} {} {} {}", hex, range.offset, range.bytes,
                                    device)) == sum_line(expected_bytes));
  BOOST_TEST(!export_ipc(owner.gpu.data(), pool_bytes + (4u << 20)));
}

BOOST_AUTO_TEST_SUITE_END()
