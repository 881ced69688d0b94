#pragma once

#include <cstddef>
#include <string>
#include <variant>
#include <vector>

#include "gpu/vmm.hpp"
#include "messages/error.hpp"
#include "messages/manifest.hpp"

namespace baton {

/// Memory of one pool on a GPU: an own allocation, or a range that the engine owns. Move-only.
///
/// Peers map an own pool read-only: a stray write of theirs faults in their process and leaves this
/// one unharmed. An engine's memory is shared as it was made: cudaMalloc through CUDA IPC, which is
/// writable for peers; the virtual memory calls through descriptors, read-only; cudaMallocAsync and
/// what the engine itself has imported not at all, so that it gets the ucx lane.
class device_pool {
public:
  /// Allocates `bytes` on a GPU. Contents are undefined at first.
  ///
  /// @param device ordinal.
  /// @returns `out_of_resources` if the GPU's memory is used up, `invalid_argument` for 0 bytes or
  ///          an unknown GPU, else `gpu_failed`.
  [[nodiscard]] static expected<device_pool> create(int device, std::size_t bytes);

  /// Registers memory of the engine, e.g. a part of a larger allocation. It must stay valid, and
  /// mapped as it is, for as long as the pool.
  ///
  /// @returns `invalid_argument` for host or managed memory and for a range that leaves its
  ///          allocation, else `gpu_failed`.
  [[nodiscard]] static expected<device_pool> adopt(void* data, std::size_t bytes);

  /// A device address; not to be read by the host.
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  /// Bytes as asked for.
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }
  /// Ordinal of its GPU in this process.
  [[nodiscard]] int device() const noexcept { return device_; }
  /// UUID of its GPU, as layouts name it.
  [[nodiscard]] const std::string& uuid() const noexcept { return uuid_; }
  /// How peers can map it.
  [[nodiscard]] const pool_share& share() const noexcept { return share_; }
  /// What goes along with `share`, in the order of its pieces. The descriptors stay with the pool.
  [[nodiscard]] std::vector<int> descriptors() const;

private:
  device_pool() = default;

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  int device_ = 0;
  std::string uuid_;
  pool_share share_;
  std::variant<std::monostate, vmm_allocation, vmm_export> held_;
};

} // namespace baton
