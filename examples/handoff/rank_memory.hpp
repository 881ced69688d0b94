#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "examples/handoff/scenario.hpp"
#include "gpu/memory.hpp"
#include "messages/error.hpp"
#include "messages/layout.hpp"
#include "transport/pool/memory_pool.hpp"

namespace baton::handoff {

/// The memory of one rank's pools, and the host's view of it: the pools themselves, or copies of
/// what lies on the GPU. Must outlive the pools.
class rank_memory {
public:
  /// Allocates what the layout's pools need, and writes into the layout where they lie.
  ///
  /// `cuda` is one plain allocation of the engine's in which the pools are parts, `cuda-vmm` has an
  /// allocation of baton's for each.
  ///
  /// @param device  ordinal of the GPU in this process; looked at for GPU memory only.
  [[nodiscard]] static expected<rank_memory> create(pool_place place, int device,
                                                    rank_layout& layout);

  /// Hands over the pools. Call once.
  [[nodiscard]] std::vector<memory_pool> take_pools() noexcept { return std::move(pools_); }

  /// One span per pool, as large as the layout says.
  [[nodiscard]] const std::vector<std::span<std::byte>>& view() const noexcept { return view_; }

  /// Brings the view's bytes into the pools.
  [[nodiscard]] expected<> upload() const;
  /// Brings a part of the view into its pool.
  [[nodiscard]] expected<> upload(std::span<const std::byte> part) const;
  /// Brings the pools' bytes into the view.
  [[nodiscard]] expected<> download() const;

private:
  rank_memory() = default;

  void add(memory_pool pool);
  expected<> add_parts(int device, const rank_layout& layout);

  device_buffer engine_;
  std::vector<memory_pool> pools_;
  std::vector<std::byte*> on_gpu_; ///< as many as pools; empty for host memory
  std::vector<std::vector<std::byte>> copies_;
  std::vector<std::span<std::byte>> view_;
};

} // namespace baton::handoff
