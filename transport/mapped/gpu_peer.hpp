#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "gpu/copy_engine.hpp"
#include "gpu/ipc.hpp"
#include "gpu/memory.hpp"
#include "gpu/vmm.hpp"
#include "messages/error.hpp"
#include "messages/layout.hpp"
#include "messages/manifest.hpp"
#include "transport/peer/peer_memory.hpp"
#include "transport/plan/shape_cache.hpp"

namespace baton {

/// A peer's pools and our own, as kernels on our GPU see them. Slow to make and to destroy; it must
/// be destroyed after the last kernel that uses it has ended.
class gpu_peer {
public:
  /// Maps the pools of a peer: GPU pools as they are shared, host pools page-locked.
  ///
  /// @param device ordinal of our GPU.
  /// @param shares, pools of the peer; they fit.
  /// @param ours where our own pools start, for kernels.
  /// @returns an error whose text tells why this GPU cannot reach the peer's memory.
  [[nodiscard]] static expected<std::unique_ptr<gpu_peer>>
  map(int device, std::shared_ptr<peer_memory> memory, std::span<const pool_share> shares,
      std::span<const pool_layout> pools, std::vector<std::byte*> ours);

  [[nodiscard]] const std::shared_ptr<const peer_memory>& memory() const noexcept {
    return memory_;
  }
  /// Whether bytes count only if the owner's process was alive after they were read: nobody
  /// promises that memory shared through CUDA IPC outlives it.
  [[nodiscard]] bool owner_must_live() const noexcept { return owner_must_live_; }
  /// How the pools were mapped, for `lane_choice::reason`.
  [[nodiscard]] std::string reason() const;

  /// Templates for pulls from it. Belong to the thread of the engine.
  [[nodiscard]] shape_cache& shapes() noexcept { return *shapes_; }

private:
  using held_pool = std::variant<host_registration, vmm_mapping, ipc_mapping>;

  gpu_peer() = default;
  [[nodiscard]] expected<const std::byte*>
  add(int device, std::size_t pool, const pool_share& share, std::span<const unique_fd> pieces);

  std::shared_ptr<const peer_memory> memory_; ///< outlives the registrations of its pages
  std::vector<held_pool> held_;
  bool owner_must_live_ = false;
  bool read_only_ = false; ///< some are GPU memory that we cannot write
  std::optional<shape_cache> shapes_;
};

} // namespace baton
