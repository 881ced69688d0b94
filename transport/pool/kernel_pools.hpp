#pragma once

#include <cstddef>
#include <mutex>
#include <span>
#include <vector>

#include "gpu/memory.hpp"
#include "messages/error.hpp"
#include "transport/pool/memory_pool.hpp"

namespace baton {

/// The pools of a rank as kernels of its GPU see them. Host pools are page-locked for that, once
/// for all who ask. Thread-safe.
class kernel_pools {
public:
  /// @param device ordinal.
  /// @param pools must outlive this.
  kernel_pools(int device, std::span<const memory_pool> pools) noexcept
      : device_{device}, pools_{pools} {}

  /// Returns where the pools start. The first call takes long if there are host pools.
  ///
  /// @returns an error whose text names the pool that the GPU cannot reach; the next call tries
  ///          again.
  [[nodiscard]] expected<std::vector<std::byte*>> starts();

private:
  const int device_;
  const std::span<const memory_pool> pools_;
  std::mutex mutex_;
  std::vector<host_registration> registered_;
  std::vector<std::byte*> starts_;
};

} // namespace baton
