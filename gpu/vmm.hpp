#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "gpu/memory.hpp"
#include "messages/error.hpp"

namespace baton {

/// One shareable allocation of device memory: a POSIX descriptor and its whole size.
struct vmm_piece {
  int descriptor = -1;     ///< borrowed, or owned by the object that lent it
  std::uint64_t bytes = 0; ///< a multiple of the allocation granularity (2 MiB on today's GPUs)
};

/// Owns device memory made by the virtual memory calls, mapped read-write on its own GPU, that
/// other processes of this user can map through a descriptor. The memory lives until the last
/// mapping of it, in any process, and the last descriptor are gone. Empty after a move. Not
/// thread-safe. Slow to make and to free.
class vmm_allocation {
public:
  /// @param bytes greater than 0; rounded up to the granularity. Contents are undefined at first.
  /// @returns `out_of_resources` if the GPU's memory is used up, `invalid_argument` for 0 bytes or
  ///          an unknown GPU, else `gpu_failed`.
  [[nodiscard]] static expected<vmm_allocation> create(int device, std::size_t bytes);

  vmm_allocation() = default;
  vmm_allocation(vmm_allocation&& other) noexcept { swap(other); }
  vmm_allocation& operator=(vmm_allocation other) noexcept {
    swap(other);
    return *this;
  }
  /// Unmaps at once: kernels that use the memory must have ended.
  ~vmm_allocation();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  /// Bytes as asked for.
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }
  [[nodiscard]] int device() const noexcept { return device_; }
  /// What a peer needs to map it. The descriptor stays with this object; pass it by SCM_RIGHTS.
  [[nodiscard]] vmm_piece piece() const noexcept { return {descriptor_, mapped_}; }

private:
  void swap(vmm_allocation& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_, other.mapped_);
    std::swap(device_, other.device_);
    std::swap(descriptor_, other.descriptor_);
  }

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t mapped_ = 0; ///< bytes, rounded up
  int device_ = 0;
  int descriptor_ = -1;
};

/// A peer's shareable memory, mapped for one GPU of this process. Holds the memory alive even when
/// its owner is gone. Empty after a move. Not thread-safe. Slow to make and to free.
class vmm_mapping {
public:
  /// Maps several allocations in a row, so that they form one range of addresses.
  ///
  /// @param pieces at least one; the descriptors may be closed afterwards.
  /// @param device whose kernels may use the mapping; the memory itself may lie on any GPU that
  ///        `device` reaches, visible to this process or not.
  /// @param access `read_only`: a kernel that writes fails with an illegal access and loses its own
  ///        process's CUDA context; the owner is unharmed.
  /// @returns `invalid_argument` for no piece, an odd size, or an unknown GPU; `gpu_failed` if a
  ///          descriptor is none of device memory or the GPU cannot reach it.
  [[nodiscard]] static expected<vmm_mapping> map(int device, std::span<const vmm_piece> pieces,
                                                 gpu_access access = gpu_access::read_only);

  vmm_mapping() = default;
  vmm_mapping(vmm_mapping&& other) noexcept { swap(other); }
  vmm_mapping& operator=(vmm_mapping other) noexcept {
    swap(other);
    return *this;
  }
  /// Unmaps at once: kernels that use the memory must have ended.
  ~vmm_mapping();

  /// A device address. Declared writable only for mappings made with `read_write`.
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  /// Sum of the pieces. Bytes.
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }

private:
  void swap(vmm_mapping& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(pieces_, other.pieces_);
    std::swap(device_, other.device_);
  }

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::vector<std::size_t> pieces_; ///< sizes of those mapped, as each is unmapped by itself
  int device_ = 0;
};

/// Descriptors of all shareable allocations that a range of VMM memory covers, e.g. an engine's
/// expandable segment. Move-only; closes the descriptors.
class vmm_export {
public:
  /// @param data, bytes a range of mapped VMM memory; stays the engine's, and must stay mapped as
  /// it
  ///        is for as long as peers use it.
  /// @returns `invalid_argument` if the range is none of VMM memory or has a hole, `gpu_failed` if
  ///          an allocation was made without a POSIX handle, or by somebody else: what was
  ///          imported cannot be exported. The text names the remedy.
  [[nodiscard]] static expected<vmm_export> create(const void* data, std::size_t bytes);

  vmm_export() = default;
  vmm_export(vmm_export&& other) noexcept
      : pieces_{std::exchange(other.pieces_, {})}, offset_{other.offset_} {}
  vmm_export& operator=(vmm_export other) noexcept {
    std::swap(pieces_, other.pieces_);
    std::swap(offset_, other.offset_);
    return *this;
  }
  ~vmm_export();

  /// In the order of their addresses. The descriptors stay with this object.
  [[nodiscard]] std::span<const vmm_piece> pieces() const noexcept { return pieces_; }
  /// Where the range starts within the first piece. Bytes.
  [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }

private:
  std::vector<vmm_piece> pieces_;
  std::uint64_t offset_ = 0;
};

} // namespace baton
