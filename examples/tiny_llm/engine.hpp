#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "examples/tiny_llm/cache.hpp"
#include "examples/tiny_llm/comm.hpp"
#include "examples/tiny_llm/model.hpp"

namespace tiny_llm {

/// Takes the logits of one step.
using logits_sink = std::function<void(std::span<const float>)>;

/// How one rank takes part in computing tokens. All ranks of an instance make the same calls.
class engine {
public:
  /// @param sink called for the prompt's last token and each later one, on the ranks of the last
  /// stage.
  engine(const model_config& config, const place& self, mesh& peers, logits_sink sink);

  /// Computes the prompt's part of the cache. Returns the first token.
  [[nodiscard]] std::int32_t prefill(std::span<const std::int32_t> prompt,
                                     const paged_cache& cache);

  /// Goes on from a cache that holds `position` tokens. Computes `tokens` more after `token`.
  void decode(std::int32_t token, std::uint32_t position, std::uint32_t tokens,
              const paged_cache& cache);

private:
  [[nodiscard]] std::vector<float> run_stage(std::int32_t token, std::uint32_t position,
                                             const paged_cache& cache);
  [[nodiscard]] std::int32_t next_token(std::span<const float> hidden);

  place self_;
  mesh& peers_;
  logits_sink sink_;
  model model_;
};

} // namespace tiny_llm
