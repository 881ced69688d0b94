#pragma once

#include <ostream>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "gpu/device.hpp"
#include "gpu/event.hpp"
#include "gpu/memory.hpp"
#include "gpu/record_event.hpp"
#include "gpu/stream.hpp"
#include "tests/support/planes.hpp"

namespace baton::test {

/// Precondition of tests; says so once a test, for CTest.
[[nodiscard]] inline boost::test_tools::assertion_result
a_gpu(boost::unit_test::test_unit_id /*id*/) {
  if (gpu_count() == 0)
    fmt::print("skipped: no GPU\n");
  return gpu_count() > 0;
}

std::ostream& operator<<(std::ostream& out, pool_memory memory);

/// What the pools of a source and of a destination are made of.
struct pairing {
  pool_memory source;
  pool_memory destination;
};
std::ostream& operator<<(std::ostream& out, const pairing& pair);

/// Sources lie on the first GPU, destinations on the last one, so that two are used where there
/// are.
[[nodiscard]] inline int gpu_of(instance_role role) {
  return role == instance_role::context ? 0 : gpu_count() - 1;
}

[[nodiscard]] inline plane_options gpu_options() {
  plane_options options;
  options.lanes = lane_policy::mapped;
  options.leases = 256;
  return options;
}

/// Options with which a pull of many megabytes takes a while.
[[nodiscard]] inline plane_options slow_options() {
  auto options = gpu_options();
  options.gpu_blocks = 1;
  return options;
}

/// A gigabyte. One thread block needs tens of milliseconds for it.
inline constexpr cache_shape large_cache{.layers = 16, .slots = 512, .fragment_bytes = 64 * 1024};

[[nodiscard]] inline plane_rank gpu_rank(const cache_shape& shape, instance_role role,
                                         pool_memory memory, const plane_options& options) {
  return {shape, role, options, memory, gpu_of(role)};
}

/// All blocks of a rank.
[[nodiscard]] inline std::vector<std::uint32_t> all_blocks(const cache_shape& shape) {
  return shuffled(shape.slots, shape.slots, 1);
}

/// Waits until a kernel has begun to write into the pool, whose every byte was `before`.
[[nodiscard]] bool written(const plane_rank& rank, std::byte before);

/// Fills a GPU pool with one byte.
void blank(const plane_rank& rank, std::byte value);

/// A stream that is busy for some tenths of a second, and the event at the end of its work.
struct busy_stream {
  explicit busy_stream(int device);
  [[nodiscard]] bool done() const;

  device_buffer memory;
  gpu_stream stream;
  gpu_event event;
};

} // namespace baton::test
