#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "messages/error.hpp"
#include "messages/layout.hpp"

namespace baton::handoff {

/// Attention layers that share one block table.
struct group_spec {
  std::string name;
  std::vector<std::uint32_t> layers;
  std::uint32_t window = 0; ///< in tokens; 0 = none
};

/// The name of the group of recurrent state.
inline constexpr auto state_group = "state";

/// Layers with recurrent state instead of an attention cache: the group `state`, one slot a
/// request. In a buffer of role `conv` the "heads" are the single bytes.
struct state_spec {
  std::vector<std::uint32_t> layers;
  std::uint32_t conv_bytes = 0; ///< per layer, sharded by bytes over tp
  std::uint32_t ssm_heads = 0;  ///< per layer, sharded by heads over tp
  std::uint32_t ssm_head_bytes = 0;
};

/// The cache of a model, as both sides see it.
struct model_spec {
  std::uint32_t layers = 1;
  std::uint32_t kv_heads = 1;
  std::uint32_t head_dim = 1;
  element_type type = element_type::bf16;
  /// One latent head replicated on every tp rank, instead of key and value.
  bool mla = false;
  /// Empty: one group `full` of all layers that hold no state.
  std::vector<group_spec> groups;
  std::optional<state_spec> state;
};

/// The order of the axes within one slot of one buffer.
enum class inner_order : std::uint8_t { hnd, nhd };

/// The order of the axes of the pools.
enum class pool_order : std::uint8_t {
  block_first, ///< one pool a group: [slot][layer][role][inner]
  layer_first, ///< one pool a group: [layer][slot][role][inner]
  tensor,      ///< one pool per layer and role: [slot][inner]
};

/// How one instance shards and stores the cache.
struct side_spec {
  std::uint32_t tp = 1;
  std::uint32_t pp = 1;
  /// Layers per pipeline stage; empty: as even as possible, the remainder to the first stages.
  std::vector<std::uint32_t> pp_layers;
  bool attention_dp = false;
  std::uint32_t tokens_per_block = 1;
  inner_order inner = inner_order::hnd;
  pool_order pool = pool_order::block_first;
  std::uint64_t blocks = 1; ///< slots of each pool
};

/// Builds the layouts of all ranks of one instance, in rank order, packed without padding.
///
/// Groups come in model order, `state` last; a rank's layout leaves out groups of which it holds no
/// layer. Pools are numbered by group, then (for `tensor`) by layer and role. `life` is left 0:
/// each process draws its own. All pools are host pools: whoever places them on devices fills in
/// kind, device and UUID. The model fingerprint is made of everything that both sides must share.
///
/// @returns `invalid_argument` for specs that contradict themselves; the text names the scenario's
/// field,
///          e.g. `context.pp_layers`.
[[nodiscard]] expected<std::vector<rank_layout>> build_instance(const model_spec& model,
                                                                const side_spec& side,
                                                                instance_role role,
                                                                const std::string& name);

/// Returns the number of layers of each pipeline stage, `side.pp` values.
[[nodiscard]] std::vector<std::uint32_t> stage_layers(const model_spec& model,
                                                      const side_spec& side);

} // namespace baton::handoff
