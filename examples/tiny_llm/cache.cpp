#include "examples/tiny_llm/cache.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include <fmt/format.h>

namespace tiny_llm {

using baton::buffer_layout;
using baton::cache_role;

baton::rank_layout make_layout(const model_config& config, baton::instance_role role,
                               const place& self, const cache_shape& shape, std::uint64_t slots) {
  const auto heads = share(config.kv_heads, self.tp, self.tp_rank());
  const auto layers = share(config.layers, self.pp, self.stage());
  buffer_layout buffer;
  buffer.first_head = heads.first;
  buffer.head_count = heads.count;
  buffer.total_heads = config.kv_heads;
  buffer.head_dim = config.head_dim;
  buffer.type = baton::element_type::fp32;
  const auto head_first = shape.order == inner_order::head_first;
  const auto row = buffer.row_bytes();
  const auto buffer_bytes = heads.count * shape.tokens_per_block * row;
  buffer.head_stride = head_first ? shape.tokens_per_block * row : row;
  buffer.token_stride = head_first ? row : heads.count * row;
  buffer.slot_stride = layers.count * 2 * buffer_bytes;

  baton::group_layout group;
  group.name = "full";
  group.tokens_per_block = shape.tokens_per_block;
  for (buffer.layer = layers.first; buffer.layer < layers.end(); ++buffer.layer)
    for (const auto role : {cache_role::key, cache_role::value}) {
      buffer.role = role;
      group.buffers.push_back(buffer);
      buffer.offset += buffer_bytes;
    }

  baton::pool_layout pool;
  pool.slot_bytes = buffer.slot_stride;
  pool.slots = slots;

  baton::rank_layout layout;
  layout.instance = fmt::format("tiny-llm {}", to_string(role));
  layout.role = role;
  layout.rank = self.rank;
  layout.tp_size = self.tp;
  layout.pp_size = self.pp;
  layout.model = fmt::format("tiny-llm, seed {}", config.seed);
  layout.pools = {pool};
  layout.groups = {group};
  return layout;
}

paged_cache::paged_cache(const baton::rank_layout& layout, std::span<std::byte> pool,
                         std::uint32_t tokens)
    : group_{layout.groups.front()}, pool_{pool}, table_(layout.pools.front().slots) {
  std::iota(table_.begin(), table_.end(), 0u);
  std::shuffle(table_.begin(), table_.end(), std::mt19937_64{layout.rank});
  table_.resize((tokens + group_.tokens_per_block - 1) / group_.tokens_per_block);
}

std::span<float> paged_cache::key(std::uint32_t layer, std::uint32_t head,
                                  std::uint32_t token) const {
  return row(group_.buffers[2 * (layer - group_.buffers.front().layer)], head, token);
}

std::span<float> paged_cache::value(std::uint32_t layer, std::uint32_t head,
                                    std::uint32_t token) const {
  return row(group_.buffers[2 * (layer - group_.buffers.front().layer) + 1], head, token);
}

std::span<float> paged_cache::row(const buffer_layout& buffer, std::uint32_t head,
                                  std::uint32_t token) const {
  const auto slot = table_[token / group_.tokens_per_block];
  const auto at = buffer.offset + slot * buffer.slot_stride +
                  (head - buffer.first_head) * buffer.head_stride +
                  token % group_.tokens_per_block * buffer.token_stride;
  const auto bytes = pool_.subspan(at, buffer.row_bytes());
  return {reinterpret_cast<float*>(bytes.data()), buffer.head_dim};
}

std::vector<baton::group_blocks> paged_cache::blocks(std::uint32_t tokens) const {
  const auto count = (tokens + group_.tokens_per_block - 1) / group_.tokens_per_block;
  return {{.group = group_.name, .blocks = {table_.begin(), table_.begin() + count}}};
}

} // namespace tiny_llm
