#include "gpu/vmm.hpp"

#include <unistd.h>

#include <algorithm>

#include "gpu/cuda/call.hpp"
#include "gpu/cuda/context.hpp"
#include "gpu/cuda/extents.hpp"
#include "gpu/device.hpp"

namespace baton {
namespace {

CUmemAllocationProp shareable(int device) {
  CUmemAllocationProp facts{};
  facts.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  facts.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  facts.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device};
  return facts;
}

expected<std::size_t> granularity(const driver_api& api, int device) {
  const CUmemAllocationProp facts = shareable(device);
  std::size_t bytes = 0;
  if (auto done = check(api.granularity(&bytes, &facts, CU_MEM_ALLOC_GRANULARITY_MINIMUM),
                        "cuMemGetAllocationGranularity");
      !done)
    return fail(done.error());
  return bytes;
}

expected<std::byte*> reserve(const driver_api& api, std::size_t bytes, std::size_t alignment) {
  CUdeviceptr address = 0;
  if (auto done = check(api.reserve(&address, bytes, alignment, 0, 0),
                        fmt::format("cuMemAddressReserve of {} bytes", bytes));
      !done)
    return fail(done.error());
  return reinterpret_cast<std::byte*>(address);
}

CUdeviceptr raw(const std::byte* data) {
  return reinterpret_cast<CUdeviceptr>(data);
}

expected<> allow(const driver_api& api, std::byte* data, std::size_t bytes, int device,
                 gpu_access access) {
  CUmemAccessDesc right{};
  right.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device};
  right.flags = access == gpu_access::read_only ? CU_MEM_ACCESS_FLAGS_PROT_READ
                                                : CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return check(api.set_access(raw(data), bytes, &right, 1),
               fmt::format("cuMemSetAccess for GPU {}", device));
}

/// A descriptor for the allocation; the caller closes it.
expected<int> describe(const driver_api& api, const vmm_handle& handle) {
  int descriptor = -1;
  if (auto done = check(
          api.export_handle(&descriptor, handle.get(), CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0),
          "cuMemExportToShareableHandle");
      !done)
    return fail(done.error());
  return descriptor;
}

/// The driver and a context on the GPU, or why not.
expected<const driver_api*> enter(int device) {
  if (auto known = known_gpu(device); !known)
    return fail(known.error());
  if (auto context = primary_context(device); !context)
    return fail(context.error());
  return driver();
}

} // namespace

expected<vmm_allocation> vmm_allocation::create(int device, std::size_t bytes) {
  if (bytes == 0)
    return fail(errc::invalid_argument, "0 bytes of GPU memory asked for; ask for at least one");
  const auto api = enter(device);
  if (!api)
    return fail(api.error());
  const auto grain = granularity(**api, device);
  if (!grain)
    return fail(grain.error());
  vmm_allocation made;
  made.bytes_ = bytes;
  made.mapped_ = (bytes + *grain - 1) / *grain * *grain;
  made.device_ = device;

  const CUmemAllocationProp facts = shareable(device);
  CUmemGenericAllocationHandle number = 0;
  if (auto done = check((*api)->create(&number, made.mapped_, &facts, 0),
                        fmt::format("cuMemCreate of {} bytes on GPU {}", made.mapped_, device));
      !done)
    return fail(done.error());
  // The mapping and the descriptor keep the memory; the handle goes at the end of this scope.
  const vmm_handle handle{number};
  const auto descriptor = describe(**api, handle);
  if (!descriptor)
    return fail(descriptor.error());
  made.descriptor_ = *descriptor;
  const auto address = reserve(**api, made.mapped_, *grain);
  if (!address)
    return fail(address.error());
  if (auto done = check((*api)->map(raw(*address), made.mapped_, 0, handle.get(), 0), "cuMemMap");
      !done) {
    (*api)->unreserve(raw(*address), made.mapped_);
    return fail(done.error());
  }
  made.data_ = *address;
  if (auto done = allow(**api, made.data_, made.mapped_, device, gpu_access::read_write); !done)
    return fail(done.error());
  return made;
}

vmm_allocation::~vmm_allocation() {
  if (descriptor_ >= 0)
    close(descriptor_);
  if (data_ == nullptr)
    return;
  const driver_api& api = **driver();
  api.unmap(raw(data_), mapped_);
  api.unreserve(raw(data_), mapped_);
}

expected<vmm_mapping> vmm_mapping::map(int device, std::span<const vmm_piece> pieces,
                                       gpu_access access) {
  const auto api = enter(device);
  if (!api)
    return fail(api.error());
  const auto grain = granularity(**api, device);
  if (!grain)
    return fail(grain.error());
  std::size_t total = 0;
  for (const vmm_piece& piece : pieces) {
    if (piece.bytes == 0 || piece.bytes % *grain != 0 || total + piece.bytes < total)
      return fail(errc::invalid_argument, "a shared allocation of {} bytes is no multiple of {}",
                  piece.bytes, *grain);
    total += piece.bytes;
  }
  if (total == 0)
    return fail(errc::invalid_argument,
                "no shared allocation to map; pass at least one descriptor");

  vmm_mapping made;
  made.device_ = device;
  const auto address = reserve(**api, total, *grain);
  if (!address)
    return fail(address.error());
  made.data_ = *address;
  made.bytes_ = total;
  made.pieces_.reserve(pieces.size());
  std::byte* at = made.data_;
  for (const vmm_piece& piece : pieces) {
    CUmemGenericAllocationHandle number = 0;
    void* shared = reinterpret_cast<void*>(static_cast<std::intptr_t>(piece.descriptor));
    if (auto done =
            check((*api)->import_handle(&number, shared, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR),
                  "cuMemImportFromShareableHandle");
        !done)
      return fail(done.error());
    const vmm_handle handle{number};
    if (auto done = check((*api)->map(raw(at), piece.bytes, 0, handle.get(), 0), "cuMemMap"); !done)
      return fail(done.error());
    made.pieces_.push_back(piece.bytes);
    at += piece.bytes;
  }
  if (auto done = allow(**api, made.data_, made.bytes_, device, access); !done)
    return fail(done.error());
  return made;
}

vmm_mapping::~vmm_mapping() {
  if (data_ == nullptr)
    return;
  const driver_api& api = **driver();
  std::byte* at = data_;
  for (std::size_t bytes : pieces_) {
    api.unmap(raw(at), bytes);
    at += bytes;
  }
  api.unreserve(raw(data_), bytes_);
}

expected<vmm_export> vmm_export::create(const void* data, std::size_t bytes) {
  const auto facts = ask_pointer(data);
  if (!facts)
    return fail(facts.error());
  if (!facts->on_device || bytes == 0)
    return fail(errc::invalid_argument, "{} bytes at {} are no GPU memory", bytes, data);
  const auto extents = find_vmm_extents(facts->device, data, bytes);
  if (!extents)
    return fail(extents.error());
  vmm_export made;
  made.offset_ = reinterpret_cast<std::uint64_t>(data) - extents->front().place.start;
  made.pieces_.reserve(extents->size());
  const driver_api& api = **driver();
  for (const vmm_extent& part : *extents) {
    CUmemGenericAllocationHandle number = 0;
    if (auto done = check(api.retain(&number, reinterpret_cast<void*>(part.place.start)),
                          "cuMemRetainAllocationHandle");
        !done)
      return fail(done.error());
    const vmm_handle handle{number};
    const auto descriptor = describe(api, handle);
    if (!descriptor)
      return fail(errc::gpu_failed,
                  "the allocation at {:#x} cannot be exported; allocate it in this process, with "
                  "CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ({})",
                  part.place.start, descriptor.error().text);
    made.pieces_.push_back({*descriptor, part.place.bytes});
  }
  return made;
}

vmm_export::~vmm_export() {
  for (const vmm_piece& piece : pieces_)
    close(piece.descriptor);
}

} // namespace baton
