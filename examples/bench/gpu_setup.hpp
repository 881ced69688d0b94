#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "messages/layout.hpp"
#include "messages/wire.hpp"
#include "transport/plan/plan.hpp"

namespace baton::bench {

/// How one instance shards and stores the cache.
struct gpu_side {
  std::uint32_t tp = 1;
  std::uint32_t tokens_per_block = 16;
  bool nhd = false; ///< else HND
  element_type type = element_type::bf16;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(gpu_side, tp, tokens_per_block, nhd, type)

/// What a case hands over from rank 0 of a context instance to rank 0 of a generation instance.
/// Both keep each layer in a piece of its own, so that fragments of two layers never merge; blocks
/// lie at random slots of pools with an eighth more than are needed.
struct gpu_setup {
  std::uint32_t layers = 16;
  std::uint32_t kv_heads = 0; ///< 0: one latent head, which all ranks hold whole
  std::uint32_t head_dim = 128;
  gpu_side context{};
  gpu_side generation{};
  std::uint32_t requests = 1;
  std::uint32_t tokens = 0; ///< per request; a multiple of both block sizes
  std::uint64_t seed = 1;   ///< of the content and of the slots

  /// What the generation rank reads for all requests. Bytes.
  [[nodiscard]] std::uint64_t bytes() const noexcept;
  [[nodiscard]] const gpu_side& side(instance_role role) const noexcept {
    return role == instance_role::context ? context : generation;
  }
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(gpu_setup, layers, kv_heads, head_dim, context, generation,
                                   requests, tokens, seed)

/// Requests in bf16 whose every (layer, block) is one fragment of `fragment` bytes, a multiple of
/// 512.
[[nodiscard]] gpu_setup fragments_of(std::uint64_t fragment, std::uint64_t bytes_per_request,
                                     std::uint32_t requests = 1);

/// Returns the layouts of all ranks of one side, without incarnations and in host memory.
[[nodiscard]] std::vector<rank_layout> layouts_of(const gpu_setup& setup, instance_role role);

/// Draws the block tables of one side, one per request, each of one group. Both ranks draw alike.
[[nodiscard]] std::vector<std::vector<group_blocks>> draw_tables(const gpu_setup& setup,
                                                                 instance_role role);

/// Returns what plans the pulls of the generation's rank 0 from the context's.
[[nodiscard]] std::shared_ptr<const planner>
planner_of(const gpu_setup& setup, const rank_layout& context, const rank_layout& generation);

} // namespace baton::bench
