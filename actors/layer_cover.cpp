#include "actors/layer_cover.hpp"

#include <algorithm>

namespace baton {

layer_list layers_of(const rank_layout& layout) {
  std::vector<std::uint32_t> layers;
  for (const auto& group : layout.groups)
    for (const auto& buffer : group.buffers)
      layers.push_back(buffer.layer);
  std::ranges::sort(layers);
  const auto repeated = std::ranges::unique(layers);
  layers.erase(repeated.begin(), repeated.end());
  return std::make_shared<const std::vector<std::uint32_t>>(std::move(layers));
}

layer_cover::layer_cover(layer_list layers, std::uint32_t first_token)
    : layers_{std::move(layers)}, ends_(layers_->size(), first_token) {
}

void layer_cover::add(layer_range layers, token_range tokens) {
  const auto [first, end] = places(layers);
  for (auto i = first; i < end; ++i)
    if (tokens.begin <= ends_[i])
      ends_[i] = std::max(ends_[i], tokens.end);
}

std::optional<layer_cover::reach> layer_cover::unlike(layer_range layers,
                                                      std::uint32_t token) const {
  const auto [first, end] = places(layers);
  for (auto i = first; i < end; ++i)
    if (ends_[i] != token)
      return reach{(*layers_)[i], ends_[i]};
  return std::nullopt;
}

layer_cover::reach layer_cover::least() const noexcept {
  return at(std::ranges::min_element(ends_));
}

layer_cover::reach layer_cover::most() const noexcept {
  return at(std::ranges::max_element(ends_));
}

std::pair<std::size_t, std::size_t> layer_cover::places(layer_range layers) const noexcept {
  if (ends_.empty())
    return {0, 0};
  const auto place = [&](std::uint32_t layer) {
    return static_cast<std::size_t>(std::ranges::lower_bound(*layers_, layer) - layers_->begin());
  };
  return {place(layers.begin),
          layers.end == layer_range::no_end ? ends_.size() : place(layers.end)};
}

layer_cover::reach layer_cover::at(std::vector<std::uint32_t>::const_iterator end) const noexcept {
  if (end == ends_.end())
    return {};
  return {(*layers_)[static_cast<std::size_t>(end - ends_.begin())], *end};
}

std::optional<layer_cover::reach> first_gap(const layer_list& layers, const group_range& want,
                                            std::vector<const group_range*> pieces) {
  std::ranges::sort(pieces, {}, [](const auto* piece) { return piece->tokens.begin; });
  layer_cover cover{layers, want.tokens.begin};
  for (const auto* piece : pieces)
    cover.add(piece->layers, piece->tokens);
  const auto least = cover.least();
  return least.token < want.tokens.end ? std::optional{least} : std::nullopt;
}

} // namespace baton
