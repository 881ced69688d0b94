#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "messages/error.hpp"
#include "messages/layout.hpp"
#include "messages/manifest.hpp"
#include "transport/pool/device_pool.hpp"
#include "transport/pool/pool.hpp"

namespace baton {

/// A pool of a rank, in host memory or on a GPU. Move-only.
class memory_pool {
public:
  memory_pool(host_pool pool) noexcept : pool_{std::move(pool)} {}
  memory_pool(device_pool pool) noexcept : pool_{std::move(pool)} {}

  [[nodiscard]] memory_kind kind() const noexcept {
    return device() == nullptr ? memory_kind::host : memory_kind::cuda;
  }
  /// Null for host memory.
  [[nodiscard]] const device_pool* device() const noexcept {
    return std::get_if<device_pool>(&pool_);
  }

  /// A host or a device address, by its kind.
  [[nodiscard]] std::byte* data() const noexcept { return memory().data(); }
  /// Bytes as asked for.
  [[nodiscard]] std::size_t size() const noexcept { return memory().size(); }
  [[nodiscard]] std::span<std::byte> memory() const noexcept;

  /// How peers can map it.
  [[nodiscard]] pool_share share() const;
  /// What goes along with `share`, in the order of its pieces. The descriptors stay with the pool.
  [[nodiscard]] std::vector<int> descriptors() const;

private:
  std::variant<host_pool, device_pool> pool_;
};

/// Checks that the pools are what the layout says: number, size, kind, GPU; and that they lie on at
/// most one GPU.
///
/// @returns `invalid_argument`; the text names the pool and both values.
[[nodiscard]] expected<> check_pools(const rank_layout& layout, std::span<const memory_pool> pools);

/// Whether any pool of the layout is GPU memory.
[[nodiscard]] bool has_gpu_pools(std::span<const pool_layout> pools) noexcept;

} // namespace baton
