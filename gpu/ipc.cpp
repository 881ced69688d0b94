#include "gpu/ipc.hpp"

#include <cuda_runtime_api.h>

#include <cstring>

#include "gpu/cuda/context.hpp"
#include "gpu/cuda/error.hpp"
#include "gpu/cuda/extents.hpp"
#include "gpu/device.hpp"

namespace baton {

static_assert(sizeof(cudaIpcMemHandle_t) == sizeof ipc_range::handle);

expected<ipc_range> export_ipc(const void* data, std::size_t bytes) {
  const auto facts = ask_pointer(data);
  if (!facts)
    return fail(facts.error());
  if (!facts->on_device || bytes == 0)
    return fail(errc::invalid_argument, "{} bytes at {} are no GPU memory", bytes, data);
  const auto first = reinterpret_cast<std::uint64_t>(data);
  const auto whole = find_extent(facts->device, first);
  if (!whole)
    return fail(whole.error());
  if (bytes > whole->bytes - (first - whole->start))
    return fail(errc::invalid_argument,
                "{} bytes at {} leave their allocation of {} bytes at {:#x}", bytes, data,
                whole->bytes, whole->start);
  const gpu_scope scope{facts->device};
  cudaIpcMemHandle_t handle{};
  if (auto done = check(cudaIpcGetMemHandle(&handle, reinterpret_cast<void*>(whole->start)),
                        "cudaIpcGetMemHandle");
      !done)
    return fail(done.error());
  ipc_range range;
  std::memcpy(range.handle.data(), &handle, sizeof handle);
  range.offset = first - whole->start;
  range.bytes = bytes;
  return range;
}

expected<ipc_mapping> ipc_mapping::open(int device, const ipc_range& range) {
  if (auto known = known_gpu(device); !known)
    return fail(known.error());
  const gpu_scope scope{device};
  cudaIpcMemHandle_t handle{};
  std::memcpy(&handle, range.handle.data(), sizeof handle);
  void* base = nullptr;
  if (auto done = check(cudaIpcOpenMemHandle(&base, handle, cudaIpcMemLazyEnablePeerAccess),
                        fmt::format("cudaIpcOpenMemHandle on GPU {}", device));
      !done)
    return fail(done.error());
  ipc_mapping made;
  made.base_ = static_cast<std::byte*>(base);
  made.offset_ = range.offset;
  made.bytes_ = range.bytes;
  made.device_ = device;
  const auto whole = find_extent(device, reinterpret_cast<std::uint64_t>(base));
  if (!whole)
    return fail(whole.error());
  if (range.offset > whole->bytes || range.bytes > whole->bytes - range.offset)
    return fail(errc::invalid_argument,
                "{} bytes at offset {} leave the peer's allocation of {} bytes", range.bytes,
                range.offset, whole->bytes);
  return made;
}

ipc_mapping::~ipc_mapping() {
  if (base_ == nullptr)
    return;
  const gpu_scope scope{device_};
  static_cast<void>(cudaIpcCloseMemHandle(base_));
}

} // namespace baton
