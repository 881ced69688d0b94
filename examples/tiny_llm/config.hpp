#pragma once

#include <cstdint>

namespace tiny_llm {

/// A decoder-only transformer: RMSNorm, rotary embedding, grouped-query attention, SwiGLU; fp32.
struct model_config {
  std::uint64_t seed = 7;
  std::uint32_t layers = 4;
  std::uint32_t hidden = 64;
  std::uint32_t query_heads = 8;
  std::uint32_t kv_heads = 4;
  std::uint32_t head_dim = 16;
  std::uint32_t ffn_units =
      8; ///< the feed-forward part is cut into units as attention is into heads
  std::uint32_t ffn_unit_width = 16;
  std::uint32_t vocabulary = 256;
};

/// Consecutive numbers `[first, first + count)`: heads, layers, vocabulary entries.
struct range {
  std::uint32_t first = 0;
  std::uint32_t count = 0;

  [[nodiscard]] std::uint32_t end() const noexcept { return first + count; }
};

/// Returns the part of `total` things that the `index`-th of `parts` owners has.
[[nodiscard]] constexpr range share(std::uint32_t total, std::uint32_t parts,
                                    std::uint32_t index) noexcept {
  const auto first = total * index / parts;
  return {first, total * (index + 1) / parts - first};
}

/// Where a rank stands in its instance. A pipeline stage holds a part of the layers; its `tp` ranks
/// hold a part of the heads each.
struct place {
  std::uint32_t rank = 0;
  std::uint32_t tp = 1;
  std::uint32_t pp = 1;

  [[nodiscard]] std::uint32_t ranks() const noexcept { return tp * pp; }
  [[nodiscard]] std::uint32_t tp_rank() const noexcept { return rank % tp; }
  [[nodiscard]] std::uint32_t stage() const noexcept { return rank / tp; }
  [[nodiscard]] bool first_stage() const noexcept { return stage() == 0; }
  [[nodiscard]] bool last_stage() const noexcept { return stage() + 1 == pp; }
};

} // namespace tiny_llm
