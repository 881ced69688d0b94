#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "examples/tiny_llm/config.hpp"
#include "messages/layout.hpp"
#include "messages/wire.hpp"

namespace tiny_llm {

/// Which of the inner axes of a block comes first: heads or tokens.
enum class inner_order : std::uint8_t { head_first, token_first };

/// How an instance arranges its cache.
struct cache_shape {
  std::uint32_t tokens_per_block = 8;
  inner_order order = inner_order::head_first;
};

/// Describes a rank's cache to baton: one group of all layers, one host pool of
/// [slot][layer][key, value][inner].
///
/// @param slots of the pool.
[[nodiscard]] baton::rank_layout make_layout(const model_config& config, baton::instance_role role,
                                             const place& self, const cache_shape& shape,
                                             std::uint64_t slots);

/// The cache of one request: its blocks lie anywhere in the pool, and its rows (the `head_dim`
/// elements of one head and token) are found through the layout's strides, whatever the block size
/// or the inner order.
class paged_cache {
public:
  /// @param layout with one pool and one group; @param pool its memory, which must outlive the
  /// cache.
  /// @param tokens to have room for. The blocks are taken in an order that is no order, as if other
  ///               requests had come and gone before.
  paged_cache(const baton::rank_layout& layout, std::span<std::byte> pool, std::uint32_t tokens);

  [[nodiscard]] std::span<float> key(std::uint32_t layer, std::uint32_t head,
                                     std::uint32_t token) const;
  [[nodiscard]] std::span<float> value(std::uint32_t layer, std::uint32_t head,
                                       std::uint32_t token) const;

  /// Returns the block table of the first `tokens` tokens, as baton wants it.
  [[nodiscard]] std::vector<baton::group_blocks> blocks(std::uint32_t tokens) const;

private:
  [[nodiscard]] std::span<float> row(const baton::buffer_layout& buffer, std::uint32_t head,
                                     std::uint32_t token) const;

  baton::group_layout group_;
  std::span<std::byte> pool_;
  std::vector<std::uint32_t> table_;
};

} // namespace tiny_llm
