#include "tests/support/gpu_poison.hpp"

#include <algorithm>

#include "gpu/device.hpp"
#include "tests/support/gpu_poison_kernel.hpp"

namespace baton::test {

namespace {

constexpr std::chrono::milliseconds longest{10'000};
/// Aligned, so that it is the address that is wrong with it.
constexpr std::uintptr_t nowhere = 64;

} // namespace

expected<> launch_poison(gpu_poison how, std::chrono::milliseconds delay, int device,
                         gpu_stream_ref stream) {
  const gpu_scope scope{device};
  auto* const address =
      how == gpu_poison::trap ? nullptr : reinterpret_cast<int*>(nowhere); // NOLINT
  const std::chrono::nanoseconds time{std::min(delay, longest)};
  const auto status = launch_poison_kernel(address, static_cast<unsigned long long>(time.count()),
                                           static_cast<cudaStream_t>(stream.handle));
  if (status != cudaSuccess)
    return fail(errc::gpu_failed, "the kernel that ruins the context cannot be launched: {}",
                cudaGetErrorName(status));
  return {};
}

} // namespace baton::test
