#include "gpu/inspect.hpp"

#include <algorithm>
#include <span>
#include <vector>

#include "gpu/cuda/extents.hpp"

namespace baton {
namespace {

memory_facts inspect_vmm(int device, std::span<const vmm_extent> extents) {
  memory_facts facts;
  facts.origin = memory_origin::device_vmm;
  facts.device = device;
  facts.start = reinterpret_cast<const void*>(extents.front().place.start);
  facts.allocations = extents.size();
  for (const vmm_extent& part : extents)
    facts.bytes += part.place.bytes;
  if (!std::ranges::all_of(extents, &vmm_extent::exportable))
    facts.unshareable_reason = "made without CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR";
  return facts;
}

/// cudaMalloc or cudaMallocAsync: one allocation.
expected<memory_facts> inspect_single(const pointer_facts& known, const void* data,
                                      std::size_t bytes) {
  const auto address = reinterpret_cast<std::uint64_t>(data);
  const auto whole = find_extent(known.device, address);
  if (!whole)
    return fail(whole.error());
  if (bytes > whole->bytes - (address - whole->start))
    return fail(errc::invalid_argument,
                "{} bytes at {} leave their allocation of {} bytes at {:#x}", bytes, data,
                whole->bytes, whole->start);
  memory_facts facts{.device = known.device,
                     .start = reinterpret_cast<const void*>(whole->start),
                     .bytes = whole->bytes,
                     .allocations = 1,
                     .unshareable_reason = {}};
  if (known.pooled) {
    facts.origin = memory_origin::device_pool;
    facts.unshareable_reason = "memory of a cudaMallocAsync pool cannot be shared; use cudaMalloc";
  } else {
    facts.origin = memory_origin::device;
    if (!known.ipc)
      facts.unshareable_reason = "this system has no CUDA IPC";
  }
  return facts;
}

} // namespace

expected<memory_facts> inspect_memory(const void* data, std::size_t bytes) {
  if (data == nullptr || bytes == 0)
    return fail(errc::invalid_argument, "{} bytes at {} are no memory", bytes, data);
  const auto known = ask_pointer(data);
  if (known && known->managed)
    return memory_facts{.origin = memory_origin::managed,
                        .device = known->device,
                        .unshareable_reason = "managed memory is not supported; use cudaMalloc"};
  if (!known || !known->on_device)
    return memory_facts{.unshareable_reason = "host memory of the engine; let baton allocate it"};
  if (!known->ipc && !known->pooled) {
    if (find_vmm_extents(known->device, data, 1)) {
      const auto extents = find_vmm_extents(known->device, data, bytes);
      if (!extents)
        return fail(extents.error());
      return inspect_vmm(known->device, *extents);
    }
  }
  return inspect_single(*known, data, bytes);
}

} // namespace baton
