#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "examples/bench/bench_cache.hpp"
#include "examples/handoff/blocks.hpp"
#include "examples/handoff/content.hpp"
#include "examples/handoff/scenario.hpp"

namespace baton::bench {

/// Tokens and bytes of one piece: what of one layer's block is contiguous on both sides.
inline constexpr std::uint32_t tokens_per_block = 16;
inline constexpr std::uint32_t fragment_bytes = 16 * 1024;

/// The cache of both ranks. Context ranks keep each layer in a piece of its own, generation ranks
/// each block, so that no two fragments merge; blocks lie at random slots of pools that have as
/// many as are needed.
struct cache_setup {
  std::uint32_t layers = 1;
  std::uint32_t requests = 1;
  std::uint32_t blocks = 1; ///< per request

  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return std::uint64_t{layers} * requests * blocks * fragment_bytes;
  }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(cache_setup, layers, requests, blocks)

/// The cache of one rank in host memory.
class rank_cache final : public bench_cache {
public:
  rank_cache(const cache_setup& setup, instance_role role);

  [[nodiscard]] const rank_layout& layout() const noexcept override { return layout_; }
  [[nodiscard]] request_id id_of(std::size_t request) const override {
    return run_.requests.at(request).id;
  }
  [[nodiscard]] token_range tokens() const noexcept override;
  [[nodiscard]] const std::vector<group_blocks>& blocks_of(std::size_t request) const override {
    return tables_.at(request);
  }

  [[nodiscard]] std::vector<memory_pool> make_pools() const override;
  void prepare(const rank_plane& plane) const override;
  [[nodiscard]] std::uint64_t wrong_bytes(const rank_plane& plane) const override;

private:
  [[nodiscard]] handoff::rank_cache view(const rank_plane& plane) const;

  handoff::scenario run_;
  rank_layout layout_;
  std::vector<handoff::request_tables> tables_;
};

/// Returns what plans the pulls of the only rank of one instance from the only one of another.
[[nodiscard]] std::shared_ptr<const planner> planner_between(const rank_layout& context,
                                                             const rank_layout& generation);

} // namespace baton::bench
