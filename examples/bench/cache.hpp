#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "examples/handoff/blocks.hpp"
#include "examples/handoff/content.hpp"
#include "examples/handoff/scenario.hpp"
#include "transport/pool.hpp"
#include "transport/rank_plane.hpp"

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

/// The cache of one rank: its layout under a new incarnation, and which blocks each request has.
class rank_cache {
public:
  rank_cache(const cache_setup& setup, instance_role role);

  [[nodiscard]] const rank_layout& layout() const noexcept { return layout_; }
  /// The id of the request at this position.
  [[nodiscard]] request_id id_of(std::size_t request) const { return run_.requests.at(request).id; }
  [[nodiscard]] token_range tokens() const noexcept;
  [[nodiscard]] const std::vector<group_blocks>& blocks_of(std::size_t request) const {
    return tables_.at(request);
  }

  [[nodiscard]] std::vector<host_pool> make_pools() const;
  /// Context: writes what is to be handed over. Generation: writes what nothing may stay of.
  void prepare(const rank_plane& plane) const;
  /// Checks every byte of the pools, as they must be once all requests were handed over.
  ///
  /// @returns how many are wrong.
  [[nodiscard]] std::uint64_t wrong_bytes(const rank_plane& plane) const;

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
