#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "messages/error.hpp"

namespace baton {

/// What a peer needs to open a range of plain device memory through CUDA IPC. A handle names an
/// allocation, so the range's place in it goes along.
struct ipc_range {
  std::array<std::byte, 64> handle = {}; ///< a cudaIpcMemHandle_t
  std::uint64_t offset = 0;              ///< of the range from the allocation's start, bytes
  std::uint64_t bytes = 0;               ///< of the range

  friend bool operator==(const ipc_range&, const ipc_range&) = default;
};

/// Exports a range that lies within one cudaMalloc allocation. The memory stays the caller's.
/// Thread-safe.
///
/// @returns `invalid_argument` if the range does not lie in one such allocation, `gpu_failed` if
/// the
///          driver refuses (memory of cudaMallocAsync or of the virtual memory calls).
[[nodiscard]] expected<ipc_range> export_ipc(const void* data, std::size_t bytes);

/// A peer process's range, opened. CUDA IPC maps it read-write. Empty after a move. Not
/// thread-safe. Slow to make and to free. A range of this same process cannot be opened.
class ipc_mapping {
public:
  /// @param device whose kernels will use it; peer access is enabled on the way.
  /// @returns `gpu_failed` with the remedy if the driver refuses.
  [[nodiscard]] static expected<ipc_mapping> open(int device, const ipc_range& range);

  ipc_mapping() = default;
  ipc_mapping(ipc_mapping&& other) noexcept { swap(other); }
  ipc_mapping& operator=(ipc_mapping other) noexcept {
    swap(other);
    return *this;
  }
  /// Closes at once: kernels that use the memory must have ended.
  ~ipc_mapping();

  /// Start of the range, a device address.
  [[nodiscard]] std::byte* data() const noexcept { return base_ + offset_; }
  /// Of the range. Bytes.
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }

private:
  void swap(ipc_mapping& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(offset_, other.offset_);
    std::swap(bytes_, other.bytes_);
    std::swap(device_, other.device_);
  }

  std::byte* base_ = nullptr;
  std::size_t offset_ = 0;
  std::size_t bytes_ = 0;
  int device_ = 0;
};

} // namespace baton
