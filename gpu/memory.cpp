#include "gpu/memory.hpp"

#include <cuda_runtime_api.h>

#include <cstring>

#include "gpu/cuda/context.hpp"
#include "gpu/cuda/error.hpp"
#include "gpu/device.hpp"

namespace baton {
namespace {

expected<> ready(int device, std::size_t bytes) {
  if (bytes == 0)
    return fail(errc::invalid_argument, "0 bytes of GPU memory asked for; ask for at least one");
  return known_gpu(device);
}

/// Where kernels see host memory all of which CUDA has locked already; else null.
const std::byte* locked_before(std::span<const std::byte> memory) {
  auto* const data = const_cast<std::byte*>(memory.data());
  void* first = nullptr;
  void* last = nullptr;
  const bool known = cudaHostGetDevicePointer(&first, data, 0) == cudaSuccess &&
                     cudaHostGetDevicePointer(&last, data + memory.size() - 1, 0) == cudaSuccess;
  static_cast<void>(cudaGetLastError());
  const auto* const start = static_cast<const std::byte*>(first);
  return known && start + memory.size() - 1 == last ? start : nullptr;
}

} // namespace

expected<device_buffer> device_buffer::create(int device, std::size_t bytes) {
  if (auto may = ready(device, bytes); !may)
    return fail(may.error());
  const gpu_scope scope{device};
  void* data = nullptr;
  if (auto done = check(cudaMalloc(&data, bytes),
                        fmt::format("cudaMalloc of {} bytes on GPU {}", bytes, device));
      !done)
    return fail(done.error());
  device_buffer made;
  made.data_ = static_cast<std::byte*>(data);
  made.bytes_ = bytes;
  made.device_ = device;
  return made;
}

device_buffer::~device_buffer() {
  if (data_ == nullptr)
    return;
  const gpu_scope scope{device_};
  static_cast<void>(cudaFree(data_));
}

expected<pinned_buffer> pinned_buffer::create(int device, std::size_t bytes) {
  if (auto may = ready(device, bytes); !may)
    return fail(may.error());
  const gpu_scope scope{device};
  void* data = nullptr;
  if (auto done = check(cudaHostAlloc(&data, bytes, cudaHostAllocPortable | cudaHostAllocMapped),
                        fmt::format("cudaHostAlloc of {} bytes", bytes));
      !done)
    return fail(done.error());
  pinned_buffer made;
  made.data_ = static_cast<std::byte*>(data);
  made.bytes_ = bytes;
  made.device_ = device;
  std::memset(data, 0, bytes);
  if (auto done = check(cudaHostGetDevicePointer(&data, made.data_, 0), "cudaHostGetDevicePointer");
      !done)
    return fail(done.error());
  made.device_data_ = static_cast<std::byte*>(data);
  return made;
}

pinned_buffer::~pinned_buffer() {
  if (data_ == nullptr)
    return;
  const gpu_scope scope{device_};
  static_cast<void>(cudaFreeHost(data_));
}

expected<host_registration> host_registration::create(int device, std::span<const std::byte> memory,
                                                      gpu_access access) {
  if (auto may = ready(device, memory.size()); !may)
    return fail(may.error());
  const gpu_scope scope{device};
  host_registration made;
  made.memory_ = memory;
  made.device_ = device;
  made.device_data_ = locked_before(memory);
  if (made.device_data_ != nullptr)
    return made;
  unsigned flags = cudaHostRegisterPortable | cudaHostRegisterMapped;
  if (access == gpu_access::read_only) {
    int supported = 0;
    static_cast<void>(
        cudaDeviceGetAttribute(&supported, cudaDevAttrHostRegisterReadOnlySupported, device));
    if (supported == 0)
      return fail(errc::gpu_failed,
                  "GPU {} cannot register read-only host memory; map it writable or stage it",
                  device);
    flags |= cudaHostRegisterReadOnly;
  }
  auto* data = const_cast<std::byte*>(memory.data());
  if (auto done = check(cudaHostRegister(data, memory.size(), flags),
                        fmt::format("cudaHostRegister of {} bytes", memory.size()));
      !done)
    return fail(done.error());
  made.ours_ = true;
  void* mapped = nullptr;
  if (auto done = check(cudaHostGetDevicePointer(&mapped, data, 0), "cudaHostGetDevicePointer");
      !done)
    return fail(done.error());
  made.device_data_ = static_cast<const std::byte*>(mapped);
  return made;
}

host_registration::~host_registration() {
  if (!ours_)
    return;
  const gpu_scope scope{device_};
  static_cast<void>(cudaHostUnregister(const_cast<std::byte*>(memory_.data())));
}

} // namespace baton
