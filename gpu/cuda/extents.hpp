#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "messages/error.hpp"

namespace baton {

/// What the driver says about an address.
struct pointer_facts {
  bool on_device = false;
  bool managed = false;
  bool pooled = false; ///< cudaMallocAsync
  bool ipc = false;    ///< cudaMalloc, on a system with CUDA IPC
  int device = -1;
};

/// Facts about one address; everything is false for memory that CUDA does not know. Thread-safe.
[[nodiscard]] expected<pointer_facts> ask_pointer(const void* data);

/// An allocation's place in the address space.
struct extent {
  std::uint64_t start = 0;
  std::uint64_t bytes = 0;
};

/// The allocation, or the single VMM mapping, that holds the address.
[[nodiscard]] expected<extent> find_extent(int device, std::uint64_t address);

/// One VMM allocation of a range.
struct vmm_extent {
  extent place;
  bool exportable = false; ///< as a POSIX descriptor
};

/// The VMM allocations that cover [data, data + bytes), in the order of their addresses.
///
/// @returns `invalid_argument` if the range is no VMM memory, or has a hole.
[[nodiscard]] expected<std::vector<vmm_extent>> find_vmm_extents(int device, const void* data,
                                                                 std::size_t bytes);

/// Holds a reference to a VMM allocation. Move-only by its owner's scope.
class vmm_handle {
public:
  explicit vmm_handle(CUmemGenericAllocationHandle handle) noexcept : handle_{handle} {}
  ~vmm_handle();
  vmm_handle(const vmm_handle&) = delete;
  vmm_handle& operator=(const vmm_handle&) = delete;

  [[nodiscard]] CUmemGenericAllocationHandle get() const noexcept { return handle_; }

private:
  CUmemGenericAllocationHandle handle_;
};

} // namespace baton
