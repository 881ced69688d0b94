#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "examples/bench/bench_cache.hpp"
#include "examples/bench/gpu_setup.hpp"
#include "gpu/vmm.hpp"

namespace baton::bench {

/// GPU memory that the caches of one process take in turns, since much of it takes long to make.
class gpu_arena {
public:
  explicit gpu_arena(int device) noexcept : device_{device} {}

  [[nodiscard]] int device() const noexcept { return device_; }
  /// Returns at least so many bytes. What was taken before must not be in use any more.
  [[nodiscard]] std::shared_ptr<const vmm_allocation> take(std::size_t bytes);

private:
  int device_;
  std::shared_ptr<const vmm_allocation> memory_;
};

/// The cache of one rank on a GPU. It is written and checked there, by kernels that know nothing of
/// plans. Requests beyond those of the setup have the blocks of the first ones again.
class gpu_cache final : public bench_cache {
public:
  gpu_cache(const gpu_setup& setup, instance_role role, gpu_arena& memory);

  [[nodiscard]] const gpu_setup& setup() const noexcept { return setup_; }
  [[nodiscard]] const rank_layout& layout() const noexcept override { return layout_; }
  [[nodiscard]] request_id id_of(std::size_t request) const override {
    return request_id{request + 1};
  }
  [[nodiscard]] token_range tokens() const noexcept override { return {0, setup_.tokens}; }
  [[nodiscard]] const std::vector<group_blocks>& blocks_of(std::size_t request) const override {
    return tables_[request % tables_.size()];
  }
  [[nodiscard]] std::vector<memory_pool> make_pools() const override;
  void prepare(const rank_plane& plane) const override;
  [[nodiscard]] std::uint64_t wrong_bytes(const rank_plane& plane) const override;

private:
  gpu_setup setup_;
  int device_;
  rank_layout layout_;
  std::vector<std::vector<group_blocks>> tables_;
  std::shared_ptr<const vmm_allocation> memory_;
};

} // namespace baton::bench
