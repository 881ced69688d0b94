#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "messages/error.hpp"

namespace baton {

/// How many messages a message may hold in one of its fields. Protobuf makes an object of a hundred
/// bytes out of two bytes, so they are counted before it makes any.
struct field_shape {
  std::uint32_t field = 0;
  std::string_view name{};               ///< for texts
  std::size_t most = 1;                  ///< in one parent
  std::size_t least_bytes = 0;           ///< no valid one is shorter
  std::span<const field_shape> fields{}; ///< of each of them
};

/// Walks the bytes of a message as far as `fields` says what is in them, and counts. Makes nothing;
/// linear in the bytes, as deep as `fields`.
///
/// @returns `invalid_argument` with the field's name, or `what` for bytes that are no message.
[[nodiscard]] expected<> check_shape(std::string_view bytes, std::span<const field_shape> fields,
                                     std::string_view what);

/// Of a `baton.wire.RankLayout`.
[[nodiscard]] std::span<const field_shape> layout_shape() noexcept;

} // namespace baton
