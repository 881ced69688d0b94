#include "examples/tiny_llm/engine.hpp"

#include <utility>

namespace tiny_llm {

engine::engine(const model_config& config, const place& self, mesh& peers, logits_sink sink)
    : self_{self},
      peers_{peers},
      sink_{std::move(sink)},
      model_{config, self, [&peers](std::span<const float> mine, std::span<float> all) {
               peers.all_gather(mine, all);
             }} {
}

std::int32_t engine::prefill(std::span<const std::int32_t> prompt, const paged_cache& cache) {
  std::vector<float> hidden;
  for (std::uint32_t position = 0; position < prompt.size(); ++position)
    hidden = run_stage(prompt[position], position, cache);
  return next_token(hidden);
}

void engine::decode(std::int32_t token, std::uint32_t position, std::uint32_t tokens,
                    const paged_cache& cache) {
  for (const auto end = position + tokens; position < end; ++position)
    token = next_token(run_stage(token, position, cache));
}

std::vector<float> engine::run_stage(std::int32_t token, std::uint32_t position,
                                     const paged_cache& cache) {
  auto hidden = model_.embed(token);
  if (!self_.first_stage())
    peers_.receive_from_stage(self_.stage() - 1, std::as_writable_bytes(std::span{hidden}));
  model_.forward(hidden, position, cache);
  if (!self_.last_stage())
    peers_.send_to_stage(self_.stage() + 1, std::as_bytes(std::span{hidden}));
  return hidden;
}

std::int32_t engine::next_token(std::span<const float> hidden) {
  std::int32_t token = 0;
  const std::span bytes{&token, 1};
  if (!self_.last_stage()) {
    peers_.receive_from_stage(self_.pp - 1, std::as_writable_bytes(bytes));
    return token;
  }
  const auto logits = model_.logits(hidden);
  sink_(logits);
  token = best_token(logits);
  for (std::uint32_t stage = 0; stage < self_.stage(); ++stage)
    peers_.send_to_stage(stage, std::as_bytes(bytes));
  return token;
}

} // namespace tiny_llm
