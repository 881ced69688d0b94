// Events of real GPU work at both doors of a hand-over: no byte moves before them.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <functional>
#include <future>
#include <thread>

#include "gpu/memory.hpp"
#include "gpu/record_event.hpp"
#include "tests/support/needs_gpu.hpp"
#include "tests/support/nodes.hpp"

using namespace baton;
using namespace baton::test;
using namespace std::chrono_literals;

namespace {

template <class T>
T need(expected<T> value) {
  BOOST_REQUIRE_MESSAGE(value, (value ? std::string{} : to_string(value.error())));
  return std::move(*value);
}

void need(const expected<>& value) {
  BOOST_REQUIRE_MESSAGE(value, (value ? std::string{} : to_string(value.error())));
}

/// A stream that is busy for about half a second: copies of page-locked host memory, which leave
/// the multiprocessors to the kernels under test.
class busy_stream {
public:
  explicit busy_stream(int device)
      : device_{device},
        stream_{need(gpu_stream::create(device))},
        from_{need(pinned_buffer::create(device, bytes))},
        to_{need(device_buffer::create(device, bytes))} {
    for (int round = 0; round < 100; ++round)
      need(copy_async(to_.data(), from_.data(), bytes, stream_.ref()));
  }
  ~busy_stream() { BOOST_TEST(finish(stream_.ref(), 20s).has_value()); }

  void then_copy(std::byte* to, const std::byte* from, std::size_t count) {
    need(copy_async(to, from, count, stream_.ref()));
  }
  [[nodiscard]] gpu_event mark() { return need(record_event(device_, stream_.ref())); }
  void wait() { need(finish(stream_.ref(), 20s)); }

private:
  static constexpr std::size_t bytes = 256u << 20;

  int device_;
  gpu_stream stream_;
  pinned_buffer from_;
  device_buffer to_;
};

/// Bytes of some blocks on a GPU, all alike at first.
struct gpu_bytes {
  gpu_bytes(int device, std::size_t count, std::uint8_t byte)
      : memory{need(device_buffer::create(device, count))} {
    const std::vector<std::byte> full(count, std::byte{byte});
    need(copy_now(memory.data(), full.data(), count));
  }

  [[nodiscard]] bool all(std::uint8_t byte) const {
    std::vector<std::byte> copy(memory.size());
    need(copy_now(copy.data(), memory.data(), copy.size()));
    return std::ranges::all_of(copy, [&](std::byte b) { return b == std::byte{byte}; });
  }

  device_buffer memory;
};

constexpr std::uint8_t stale = 0x11;
constexpr std::uint8_t fresh = 0x77;
constexpr std::uint8_t old = 0xee;
constexpr std::uint32_t source_block = 5;
constexpr std::uint32_t destination_block = 20;
constexpr std::uint32_t blocks = 3;
constexpr std::uint32_t tokens = 12;

/// A context and a generation rank in this process, on two GPUs if there are two.
struct pair_on_gpus {
  const int context_gpu = 0;
  const int generation_gpu = gpu_count() > 1 ? 1 : 0;
  std::unique_ptr<deployment> world;

  void start(lane_policy lane) {
    deployment::shape form;
    form.lanes.lanes = lane;
    // Both ranks are in this process, where UCX has no cuda_ipc.
    form.lanes.ucx_transports = lane == lane_policy::ucx ? "posix,cma,self" : "";
    form.context_gpu = context_gpu;
    form.generation_gpu = generation_gpu;
    world = std::make_unique<deployment>(std::move(form));
    for (std::uint32_t i = 0; i < blocks; ++i) {
      world->context().fill(source_block + i, stale);
      world->generation().fill(destination_block + i, old);
    }
  }

  ~pair_on_gpus() {
    if (world)
      BOOST_TEST(world->leftovers() == "");
  }

  static std::byte* start_of(node& rank, std::uint32_t block) {
    return rank.plane().pool(0).data() + block * slot_bytes(rank);
  }
  static std::size_t slot_bytes(const node& rank) { return rank.layout().pools[0].slot_bytes; }

  [[nodiscard]] bool holds(std::uint8_t byte) {
    for (std::uint32_t i = 0; i < blocks; ++i)
      if (!world->generation().holds(destination_block + i, byte))
        return false;
    return true;
  }

  void offer(gpu_event_ref after, std::chrono::milliseconds timeout = 10s) {
    auto slice = world->slice(1, source_block, tokens, timeout);
    slice.after = after;
    need(world->context().door().respond_and_send_async(std::move(slice)));
  }

  std::future<outcome> receive(gpu_event_ref after, std::chrono::milliseconds timeout = 10s) {
    auto wish = world->wish(1, destination_block, tokens, timeout);
    wish.after = after;
    return std::async(std::launch::async, [this, wish] {
      return world->generation().door().request_and_receive_sync(wish);
    });
  }

  void wait_for(const std::function<bool()>& reached) {
    const auto until = std::chrono::steady_clock::now() + 5s;
    while (!reached() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(1ms);
    BOOST_REQUIRE(reached());
  }

  [[nodiscard]] std::size_t leases() { return world->context().door().stats().leases_granted; }

  /// Makes the ranks known to each other, so that a request goes on at once.
  void introduce() {
    auto slice = world->slice(99, 40, 4);
    need(world->context().door().respond_and_send_async(std::move(slice)));
    const auto first = world->generation().door().request_and_receive_sync(world->wish(99, 40, 4));
    BOOST_REQUIRE_MESSAGE(first.completed(), to_string(first.failure.value_or(error{})));
    BOOST_TEST(world->context().door().check_context_transfer_status(1).size() == 1u);
  }
};

bool pending(const gpu_event& event) {
  return !need(is_complete(event.ref()));
}

/// Looks again and again while the work before the event is going on. What `look` returns counts
/// only if the event is not complete after it.
///
/// @returns how often it counted.
int while_pending(const gpu_event& event, const std::function<bool()>& look) {
  int looks = 0;
  for (;;) {
    const bool good = look();
    if (!pending(event))
      return looks;
    BOOST_TEST(good);
    ++looks;
  }
}

const std::vector<lane_policy> lanes{lane_policy::mapped, lane_policy::ucx};

errc code_of(const outcome& result) {
  BOOST_REQUIRE(result.failure.has_value());
  return result.failure->code;
}

} // namespace

namespace baton {
std::ostream& operator<<(std::ostream& out, lane_policy lane) {
  return out << (lane == lane_policy::mapped ? "mapped" : "ucx");
}
} // namespace baton

namespace data = boost::unit_test::data;

BOOST_AUTO_TEST_SUITE(gpu_events, *boost::unit_test::precondition(a_gpu))

BOOST_DATA_TEST_CASE_F(pair_on_gpus, nobody_reads_what_the_producer_still_writes, data::make(lanes),
                       lane) {
  start(lane);
  introduce();
  auto& context = world->context();
  const auto count = blocks * slot_bytes(context);
  const gpu_bytes computed{context_gpu, count, fresh};
  busy_stream producer{context_gpu};
  producer.then_copy(start_of(context, source_block), computed.memory.data(), count);
  const auto filled = producer.mark();
  offer(filled.ref());
  auto waiting = receive({});
  BOOST_REQUIRE(pending(filled));
  const int looks = while_pending(filled, [&] { return leases() == 0 && holds(old); });
  BOOST_TEST(looks > 0);
  BOOST_TEST(waiting.get().completed());
  BOOST_TEST(holds(fresh));
}

BOOST_DATA_TEST_CASE_F(pair_on_gpus, nobody_writes_what_the_consumer_still_reads, data::make(lanes),
                       lane) {
  start(lane);
  introduce();
  auto& generation = world->generation();
  const auto count = blocks * slot_bytes(generation);
  const gpu_bytes saved{generation_gpu, count, 0};
  busy_stream consumer{generation_gpu};
  consumer.then_copy(saved.memory.data(), start_of(generation, destination_block), count);
  const auto unused = consumer.mark();
  offer({});
  auto waiting = receive(unused.ref());
  wait_for([&] { return leases() == 1; });
  BOOST_REQUIRE(pending(unused));
  const int looks = while_pending(unused, [&] { return holds(old); });
  BOOST_TEST(looks > 0);
  BOOST_TEST(waiting.get().completed());
  BOOST_TEST(saved.all(old));
  BOOST_TEST(holds(stale));
}

BOOST_DATA_TEST_CASE_F(pair_on_gpus, a_cancel_does_not_wait_for_the_gpu, data::make(lanes), lane) {
  start(lane);
  introduce();
  busy_stream consumer{generation_gpu};
  const auto unused = consumer.mark();
  offer({});
  auto waiting = receive(unused.ref());
  wait_for([&] { return leases() == 1; });
  BOOST_TEST(world->generation().door().cancel_request(request_id{1}));
  BOOST_TEST(world->context().door().cancel_request(request_id{1}));
  BOOST_TEST(pending(unused));
  BOOST_TEST((code_of(waiting.get()) == errc::cancelled));
  consumer.wait();
  BOOST_TEST(holds(old));
}

BOOST_DATA_TEST_CASE_F(pair_on_gpus, a_deadline_ends_the_wait_for_the_gpu, data::make(lanes),
                       lane) {
  start(lane);
  introduce();
  busy_stream producer{context_gpu};
  const auto filled = producer.mark();
  offer(filled.ref(), 50ms);
  auto waiting = receive({});
  const auto sent = world->context().door().check_context_transfer_status(1);
  BOOST_TEST(pending(filled));
  BOOST_REQUIRE(sent.size() == 1u);
  BOOST_TEST((code_of(sent[0]) == errc::timed_out));
  BOOST_TEST((sent[0].failure->text.find("GPU event") != std::string::npos));
  BOOST_TEST((code_of(waiting.get()) == errc::timed_out));
  producer.wait();
  BOOST_TEST(holds(old));
}

BOOST_DATA_TEST_CASE_F(pair_on_gpus, a_shutdown_ends_the_wait_for_the_gpu, data::make(lanes),
                       lane) {
  start(lane);
  introduce();
  busy_stream producer{context_gpu};
  const auto filled = producer.mark();
  offer(filled.ref());
  world->context().door().shutdown();
  BOOST_TEST(pending(filled));
  producer.wait();
}

BOOST_AUTO_TEST_SUITE_END()
