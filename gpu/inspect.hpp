#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "messages/error.hpp"

namespace baton {

/// How memory was made, which decides how a peer can map it.
enum class memory_origin : std::uint8_t {
  host = 1,    ///< unknown to CUDA, or page-locked host memory
  device,      ///< cudaMalloc: shared by `export_ipc`
  device_vmm,  ///< virtual memory calls: shared by `vmm_export`
  device_pool, ///< cudaMallocAsync: cannot be shared; only the ucx lane can carry it
  managed,     ///< cudaMallocManaged: not supported
};

/// Returns e.g. "cudaMalloc memory".
[[nodiscard]] std::string_view to_string(memory_origin origin) noexcept;

/// What a range of addresses is.
struct memory_facts {
  memory_origin origin = memory_origin::host;
  int device = -1;                ///< ordinal of the GPU it lies on; -1 for host memory
  const void* start = nullptr;    ///< of the allocation (of the first one for `device_vmm`)
  std::size_t bytes = 0;          ///< of the allocation(s) that cover the range; 0 for host memory
  std::size_t allocations = 0;    ///< how many in a row cover the range; more than 1 only for VMM
  std::string unshareable_reason; ///< empty if peers on this host can map it; else why not
};

/// Finds out what [data, data + bytes) is. Costs a few driver calls per allocation, blocks on no
/// GPU work. Thread-safe. Without CUDA all memory is `host`.
///
/// @returns `invalid_argument` for an empty range, or one that leaves its allocation.
[[nodiscard]] expected<memory_facts> inspect_memory(const void* data, std::size_t bytes);

} // namespace baton
