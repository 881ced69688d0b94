#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "messages/layout.hpp"
#include "messages/wire.hpp"

namespace baton {

/// Layer numbers, ascending.
using layer_list = std::shared_ptr<const std::vector<std::uint32_t>>;

/// Returns the layers that a rank holds.
[[nodiscard]] layer_list layers_of(const rank_layout& layout);

/// Up to which token each of some layers is covered by pieces, each of some layers and tokens.
/// Not thread-safe.
class layer_cover {
public:
  struct reach {
    std::uint32_t layer = 0;
    std::uint32_t token = 0; ///< its tokens before this one are covered
  };

  /// Of no layer.
  layer_cover() = default;
  /// Covers nothing, or what lies before `first_token`.
  explicit layer_cover(layer_list layers, std::uint32_t first_token = 0);

  /// Covers the tokens of a piece in those of its layers that are covered up to where it begins, or
  /// further.
  void add(layer_range layers, token_range tokens);

  /// Returns the first layer within a range that is not covered just up to a token.
  [[nodiscard]] std::optional<reach> unlike(layer_range layers, std::uint32_t token) const;
  /// Returns the first of the layers that are covered least, or most; {0, 0} if there is no layer.
  [[nodiscard]] reach least() const noexcept;
  [[nodiscard]] reach most() const noexcept;
  /// Whether all layers are covered alike.
  [[nodiscard]] bool even() const noexcept { return least().token == most().token; }

private:
  /// Returns the places of the layers within a range.
  [[nodiscard]] std::pair<std::size_t, std::size_t> places(layer_range layers) const noexcept;
  [[nodiscard]] reach at(std::vector<std::uint32_t>::const_iterator end) const noexcept;

  layer_list layers_;
  std::vector<std::uint32_t> ends_; ///< of each layer
};

/// Returns what is missing first of a wanted range, in those of its layers that `layers` names;
/// nullopt if the pieces cover it.
[[nodiscard]] std::optional<layer_cover::reach> first_gap(const layer_list& layers,
                                                          const group_range& want,
                                                          std::vector<const group_range*> pieces);

} // namespace baton
