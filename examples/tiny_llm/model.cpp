#include "examples/tiny_llm/model.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace tiny_llm {

namespace {

std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

float dot(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0f);
}

std::vector<float> normalized(std::span<const float> x) {
  const auto scale = 1 / std::sqrt(dot(x, x) / static_cast<float>(x.size()) + 1e-6f);
  std::vector<float> result(x.begin(), x.end());
  for (auto& value : result)
    value *= scale;
  return result;
}

/// Rotates the pairs (i, i + half) by an angle that grows with the position, each pair at its own
/// speed.
std::vector<float> rotated(std::vector<float> x, std::uint32_t position) {
  const auto half = x.size() / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const auto speed = std::pow(10'000.0f, -static_cast<float>(i) / static_cast<float>(half));
    const auto angle = static_cast<float>(position) * speed;
    const auto a = x[i];
    const auto b = x[i + half];
    x[i] = a * std::cos(angle) - b * std::sin(angle);
    x[i + half] = a * std::sin(angle) + b * std::cos(angle);
  }
  return x;
}

void softmax(std::span<float> scores) {
  const auto highest = std::ranges::max(scores);
  auto sum = 0.0f;
  for (auto& score : scores)
    sum += score = std::exp(score - highest);
  for (auto& score : scores)
    score /= sum;
}

/// One query against the keys and values of all positions up to its own.
std::vector<float> attention(std::span<const float> query, std::uint32_t layer, std::uint32_t head,
                             std::uint32_t position, const paged_cache& cache) {
  std::vector<float> weights(position + 1);
  for (std::uint32_t token = 0; token <= position; ++token)
    weights[token] =
        dot(query, cache.key(layer, head, token)) / std::sqrt(static_cast<float>(query.size()));
  softmax(weights);
  std::vector<float> result(query.size());
  for (std::uint32_t token = 0; token <= position; ++token)
    for (std::size_t i = 0; i < result.size(); ++i)
      result[i] += weights[token] * cache.value(layer, head, token)[i];
  return result;
}

void append(std::vector<float>& all, const std::vector<float>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

} // namespace

matrix::matrix(std::uint64_t seed, kind use, std::uint32_t layer, std::uint32_t unit,
               std::uint32_t rows, std::uint32_t columns)
    : rows_{rows}, columns_{columns}, weights_(std::size_t{rows} * columns) {
  auto key = mix(seed);
  for (const auto part : {static_cast<std::uint32_t>(use), layer, unit})
    key = mix(key ^ part);
  // Uniform with variance 1 / columns, which keeps the size of what flows through.
  const auto scale = std::sqrt(3 / static_cast<float>(columns));
  for (std::size_t i = 0; i < weights_.size(); ++i)
    weights_[i] = scale * (static_cast<float>(mix(key ^ i) >> 40) / (1 << 23) - 1);
}

std::vector<float> matrix::operator*(std::span<const float> x) const {
  std::vector<float> result(rows_);
  for (std::uint32_t i = 0; i < rows_; ++i)
    result[i] = dot(row(i), x);
  return result;
}

model::model(const model_config& config, const place& self, gather collect)
    : config_{config},
      query_heads_{share(config.query_heads, self.tp, self.tp_rank())},
      key_value_heads_{share(config.kv_heads, self.tp, self.tp_rank())},
      feed_forward_units_{share(config.ffn_units, self.tp, self.tp_rank())},
      vocabulary_{share(config.vocabulary, self.tp, self.tp_rank())},
      collect_{std::move(collect)},
      embedding_{config.seed, matrix::kind::embed, 0, 0, config.vocabulary, config.hidden} {
  const auto layers = share(config.layers, self.pp, self.stage());
  for (auto number = layers.first; number < layers.end(); ++number)
    layers_.push_back(make_layer(number));
  for (auto token = vocabulary_.first; token < vocabulary_.end(); ++token)
    unembedding_.emplace_back(config.seed, matrix::kind::unembed, 0, token, 1, config.hidden);
}

model::layer model::make_layer(std::uint32_t number) const {
  using enum matrix::kind;
  const auto width = config_.hidden;
  const auto make = [&](matrix::kind use, std::uint32_t unit, std::uint32_t rows,
                        std::uint32_t columns) {
    return matrix{config_.seed, use, number, unit, rows, columns};
  };
  layer result{number, {}, {}, {}};
  for (auto head = key_value_heads_.first; head < key_value_heads_.end(); ++head)
    result.key_value_heads.push_back(
        {make(key, head, config_.head_dim, width), make(value, head, config_.head_dim, width)});
  for (auto head = query_heads_.first; head < query_heads_.end(); ++head)
    result.query_heads.push_back(
        {make(query, head, config_.head_dim, width), make(output, head, width, config_.head_dim)});
  for (auto unit = feed_forward_units_.first; unit < feed_forward_units_.end(); ++unit)
    result.feed_forward_units.push_back({make(gate, unit, config_.ffn_unit_width, width),
                                         make(up, unit, config_.ffn_unit_width, width),
                                         make(down, unit, width, config_.ffn_unit_width)});
  return result;
}

std::vector<float> model::embed(std::int32_t token) const {
  const auto row = embedding_.row(static_cast<std::uint32_t>(token));
  return {row.begin(), row.end()};
}

void model::forward(std::span<float> hidden, std::uint32_t position,
                    const paged_cache& cache) const {
  for (const auto& at : layers_) {
    attend(at, hidden, position, cache);
    feed_forward(at, hidden);
  }
}

void model::attend(const layer& at, std::span<float> hidden, std::uint32_t position,
                   const paged_cache& cache) const {
  const auto x = normalized(hidden);
  for (auto head = key_value_heads_.first; head < key_value_heads_.end(); ++head) {
    const auto& own = at.key_value_heads[head - key_value_heads_.first];
    std::ranges::copy(rotated(own.key * x, position), cache.key(at.number, head, position).begin());
    std::ranges::copy(own.value * x, cache.value(at.number, head, position).begin());
  }
  std::vector<float> mine;
  for (auto head = query_heads_.first; head < query_heads_.end(); ++head) {
    const auto& own = at.query_heads[head - query_heads_.first];
    const auto shared_head = head * config_.kv_heads / config_.query_heads;
    const auto seen =
        attention(rotated(own.query * x, position), at.number, shared_head, position, cache);
    append(mine, own.output * seen);
  }
  add_in_model_order(mine, config_.query_heads, hidden);
}

void model::feed_forward(const layer& at, std::span<float> hidden) const {
  const auto x = normalized(hidden);
  std::vector<float> mine;
  for (const auto& unit : at.feed_forward_units) {
    auto inner = unit.gate * x;
    const auto up = unit.up * x;
    for (std::size_t i = 0; i < inner.size(); ++i)
      inner[i] = inner[i] / (1 + std::exp(-inner[i])) * up[i];
    append(mine, unit.down * inner);
  }
  add_in_model_order(mine, config_.ffn_units, hidden);
}

void model::add_in_model_order(std::span<const float> mine, std::uint32_t units,
                               std::span<float> hidden) const {
  std::vector<float> all(units * hidden.size());
  collect_(mine, all);
  for (std::size_t i = 0; i < all.size(); ++i)
    hidden[i % hidden.size()] += all[i];
}

std::vector<float> model::logits(std::span<const float> hidden) const {
  const auto x = normalized(hidden);
  std::vector<float> mine;
  for (const auto& row : unembedding_)
    append(mine, row * x);
  std::vector<float> all(config_.vocabulary);
  collect_(mine, all);
  return all;
}

std::int32_t best_token(std::span<const float> logits) {
  return static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
}

std::vector<std::int32_t> make_prompt(const model_config& config, std::uint32_t tokens) {
  std::vector<std::int32_t> prompt(tokens);
  for (std::uint32_t i = 0; i < tokens; ++i)
    prompt[i] = static_cast<std::int32_t>(mix(config.seed + i) % config.vocabulary);
  return prompt;
}

} // namespace tiny_llm
