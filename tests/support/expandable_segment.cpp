#include "tests/support/expandable_segment.hpp"

#include <numeric>

#include "gpu/cuda/call.hpp"
#include "gpu/cuda/extents.hpp"

namespace baton::test {

expected<expandable_segment> expandable_segment::create(int device,
                                                        std::vector<std::size_t> pieces) {
  if (auto context = primary_context(device); !context)
    return fail(std::move(context.error()));
  CUmemAllocationProp kind{};
  kind.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  kind.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  kind.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device};
  expandable_segment made;
  made.bytes_ = std::accumulate(pieces.begin(), pieces.end(), std::size_t{0});
  CUdeviceptr start = 0;
  auto done = call(&driver_api::reserve, "cuMemAddressReserve", &start, made.bytes_, std::size_t{0},
                   CUdeviceptr{0}, 0ull);
  if (!done)
    return fail(std::move(done.error()));
  made.data_ = reinterpret_cast<std::byte*>(start);
  CUdeviceptr at = start;
  for (const std::size_t bytes : pieces) {
    CUmemGenericAllocationHandle number = 0;
    done = call(&driver_api::create, "cuMemCreate", &number, bytes, &kind, 0ull);
    if (!done)
      return fail(std::move(done.error()));
    const vmm_handle handle{number};
    done = call(&driver_api::map, "cuMemMap", at, bytes, std::size_t{0}, handle.get(), 0ull);
    if (!done)
      return fail(std::move(done.error()));
    made.mapped_.push_back(bytes);
    at += bytes;
  }
  CUmemAccessDesc right{};
  right.location = kind.location;
  right.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  done =
      call(&driver_api::set_access, "cuMemSetAccess", start, made.bytes_, &right, std::size_t{1});
  if (!done)
    return fail(std::move(done.error()));
  return made;
}

expandable_segment::~expandable_segment() {
  if (data_ == nullptr)
    return;
  const driver_api& api = **driver();
  auto at = reinterpret_cast<CUdeviceptr>(data_);
  for (const std::size_t bytes : mapped_) {
    api.unmap(at, bytes);
    at += bytes;
  }
  api.unreserve(reinterpret_cast<CUdeviceptr>(data_), bytes_);
}

} // namespace baton::test
