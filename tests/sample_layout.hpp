#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "messages/layout.hpp"
#include "messages/wire.hpp"

namespace baton::test {

/// The shape of an instance of the sample model: 4 layers of 4 heads of 8 bf16, keys and values,
/// and a state slot for layer 3; packed, head before token, in one pool a group.
struct sample_shape {
  std::uint32_t tp = 1;
  std::uint32_t pp = 1;
  bool attention_dp = false;
  std::uint32_t tokens_per_block = 4;
  instance_role role = instance_role::context;
};

inline constexpr std::uint32_t sample_layers = 4;
inline constexpr std::uint32_t sample_heads = 4;

/// A buffer at `offset` whose heads and tokens are packed.
inline buffer_layout packed_buffer(std::uint32_t layer, cache_role role, std::uint64_t offset,
                                   std::uint32_t first_head, std::uint32_t heads,
                                   std::uint32_t tokens) {
  buffer_layout out{.layer = layer,
                    .role = role,
                    .pool = 0,
                    .offset = offset,
                    .slot_stride = 0,
                    .first_head = first_head,
                    .head_count = heads,
                    .total_heads = sample_heads,
                    .head_stride = 0,
                    .token_stride = 0,
                    .head_dim = 8,
                    .type = element_type::bf16};
  out.token_stride = out.row_bytes();
  out.head_stride = out.token_stride * tokens;
  return out;
}

inline rank_layout sample_rank(const sample_shape& shape, std::uint32_t rank) {
  rank_layout out{.instance = shape.role == instance_role::context ? "ctx" : "gen",
                  .life = incarnation{1000 + rank},
                  .role = shape.role,
                  .rank = rank,
                  .tp_size = shape.tp,
                  .pp_size = shape.pp,
                  .attention_dp = shape.attention_dp,
                  .model = "sample",
                  .pools = {},
                  .groups = {}};
  const auto heads = shape.attention_dp ? sample_heads : sample_heads / shape.tp;
  const auto first_head = shape.attention_dp ? 0 : heads * out.tp_rank();
  const auto layers = sample_layers / shape.pp;
  group_layout full{"full", shape.tokens_per_block, 0, {}};
  std::uint64_t offset = 0;
  for (auto layer = layers * out.pp_rank(); layer < layers * (out.pp_rank() + 1); ++layer)
    for (const auto role : {cache_role::key, cache_role::value}) {
      full.buffers.push_back(
          packed_buffer(layer, role, offset, first_head, heads, shape.tokens_per_block));
      offset += full.buffers.back().head_stride * heads;
    }
  for (auto& buffer : full.buffers)
    buffer.slot_stride = offset;
  out.pools.push_back({memory_kind::host, 0, "", offset, 16});
  out.groups.push_back(std::move(full));
  if (out.pp_rank() + 1 == shape.pp) {
    auto state = packed_buffer(sample_layers - 1, cache_role::ssm, 0, first_head, heads, 1);
    state.pool = 1;
    state.slot_stride = state.head_stride * heads;
    out.pools.push_back({memory_kind::host, 0, "", state.slot_stride, 4});
    out.groups.push_back({"state", 0, 0, {state}});
  }
  return out;
}

inline std::vector<rank_layout> sample_instance(const sample_shape& shape) {
  std::vector<rank_layout> out;
  for (std::uint32_t rank = 0; rank < shape.tp * shape.pp; ++rank)
    out.push_back(sample_rank(shape, rank));
  return out;
}

inline instance_info sample_info(const sample_shape& shape) {
  instance_info out;
  for (auto& layout : sample_instance(shape)) {
    const auto port = static_cast<std::uint16_t>(4000 + layout.rank);
    out.ranks.push_back({std::move(layout), "127.0.0.1", port, "manifest"});
  }
  return out;
}

} // namespace baton::test
