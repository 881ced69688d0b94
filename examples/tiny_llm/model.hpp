#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "examples/tiny_llm/cache.hpp"
#include "examples/tiny_llm/config.hpp"

namespace tiny_llm {

/// Brings the parts of all tp ranks together, in rank order: `all` is `tp` times as long as `mine`.
using gather = std::function<void(std::span<const float> mine, std::span<float> all)>;

/// A matrix of weights. Each weight is a pure function of the seed and its position in the model,
/// so every rank makes just the ones that it holds.
class matrix {
public:
  /// What a matrix is for. The numbers seed the weights.
  enum class kind : std::uint32_t { query, key, value, output, gate, up, down, embed, unembed };

  /// @param layer of the model; 0 for the vocabulary.
  /// @param unit  the head, feed-forward unit or vocabulary entry whose weights these are.
  matrix(std::uint64_t seed, kind use, std::uint32_t layer, std::uint32_t unit, std::uint32_t rows,
         std::uint32_t columns);

  /// Returns the product with `x`, every sum taken from left to right.
  [[nodiscard]] std::vector<float> operator*(std::span<const float> x) const;

  [[nodiscard]] std::span<const float> row(std::uint32_t index) const noexcept {
    return std::span{weights_}.subspan(std::size_t{index} * columns_, columns_);
  }

private:
  std::uint32_t rows_;
  std::uint32_t columns_;
  std::vector<float> weights_;
};

/// The part of the model that one rank holds.
///
/// The logits do not depend on tp or pp, not even in their last bit. The work is cut into *units*
/// (a head, a slice of the feed-forward part) whose results a rank computes alone; all units'
/// results are gathered, and every rank adds them in the order of the model. Thus no sum depends on
/// who computed its terms.
class model {
public:
  model(const model_config& config, const place& self, gather collect);

  /// Returns a token's embedding: what goes into the first layer.
  [[nodiscard]] std::vector<float> embed(std::int32_t token) const;

  /// Runs the rank's layers on one token. The token's keys and values enter the cache, which holds
  /// those of all earlier positions.
  void forward(std::span<float> hidden, std::uint32_t position, const paged_cache& cache) const;

  /// Returns the logits of the whole vocabulary from what came out of the last layer.
  [[nodiscard]] std::vector<float> logits(std::span<const float> hidden) const;

private:
  struct key_value_head {
    matrix key, value;
  };
  struct query_head {
    matrix query, output;
  };
  struct feed_forward_unit {
    matrix gate, up, down;
  };
  struct layer {
    std::uint32_t number;
    std::vector<key_value_head> key_value_heads;
    std::vector<query_head> query_heads;
    std::vector<feed_forward_unit> feed_forward_units;
  };

  [[nodiscard]] layer make_layer(std::uint32_t number) const;
  void attend(const layer& at, std::span<float> hidden, std::uint32_t position,
              const paged_cache& cache) const;
  void feed_forward(const layer& at, std::span<float> hidden) const;
  void add_in_model_order(std::span<const float> mine, std::uint32_t units,
                          std::span<float> hidden) const;

  model_config config_;
  range query_heads_, key_value_heads_, feed_forward_units_, vocabulary_;
  gather collect_;
  matrix embedding_;
  std::vector<layer> layers_;
  std::vector<matrix> unembedding_; ///< one row each, for this rank's part of the vocabulary
};

/// Returns the token with the highest logit.
[[nodiscard]] std::int32_t best_token(std::span<const float> logits);

/// Returns a prompt of the wanted length, the same for the same seed.
[[nodiscard]] std::vector<std::int32_t> make_prompt(const model_config& config,
                                                    std::uint32_t tokens);

} // namespace tiny_llm
