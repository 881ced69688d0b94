#include "gpu/cuda/extents.hpp"

#include "gpu/cuda/call.hpp"
#include "gpu/device.hpp"

namespace baton {
namespace {

expected<vmm_extent> find_vmm_extent(const driver_api& api, int device, std::uint64_t address) {
  CUmemGenericAllocationHandle raw = 0;
  if (api.retain(&raw, reinterpret_cast<void*>(address)) != CUDA_SUCCESS)
    return fail(
        errc::invalid_argument,
        "address {:#x} is no mapped memory of the virtual memory calls; register a range that "
        "is mapped throughout",
        address);
  const vmm_handle handle{raw};
  const auto place = find_extent(device, address);
  if (!place)
    return fail(place.error());
  CUmemAllocationProp facts{};
  if (auto done =
          check(api.properties(&facts, handle.get()), "cuMemGetAllocationPropertiesFromHandle");
      !done)
    return fail(done.error());
  return vmm_extent{*place,
                    (facts.requestedHandleTypes & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) != 0};
}

} // namespace

expected<pointer_facts> ask_pointer(const void* data) {
  CUmemorytype type{};
  int device = -1;
  unsigned managed = 0;
  unsigned ipc = 0;
  CUmemoryPool pool = nullptr;
  CUpointer_attribute names[] = {
      CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
      CU_POINTER_ATTRIBUTE_IS_MANAGED, CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE,
      CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE};
  void* values[] = {&type, &device, &managed, &ipc, &pool};
  if (auto done = call(&driver_api::pointer_attributes, "cuPointerGetAttributes", 5u,
                       static_cast<CUpointer_attribute*>(names), static_cast<void**>(values),
                       reinterpret_cast<CUdeviceptr>(data));
      !done)
    return fail(done.error());
  const bool on_device = type == CU_MEMORYTYPE_DEVICE;
  return pointer_facts{on_device, managed != 0, pool != nullptr, ipc != 0, on_device ? device : -1};
}

expected<extent> find_extent(int device, std::uint64_t address) {
  const gpu_scope scope{device};
  CUdeviceptr start = 0;
  std::size_t bytes = 0;
  if (auto done = call(&driver_api::address_range, "cuMemGetAddressRange", &start, &bytes,
                       static_cast<CUdeviceptr>(address));
      !done)
    return fail(done.error());
  return extent{start, bytes};
}

expected<std::vector<vmm_extent>> find_vmm_extents(int device, const void* data,
                                                   std::size_t bytes) {
  const auto api = driver();
  if (!api)
    return fail(api.error());
  const auto first = reinterpret_cast<std::uint64_t>(data);
  std::vector<vmm_extent> found;
  for (std::uint64_t address = first; address < first + bytes;) {
    auto next = find_vmm_extent(**api, device, address);
    if (!next)
      return fail(next.error());
    address = next->place.start + next->place.bytes;
    found.push_back(*next);
  }
  return found;
}

vmm_handle::~vmm_handle() {
  (*driver())->release(handle_);
}

} // namespace baton
