#pragma once

// Internal to messages/: what all codecs share. A codec has, for each type, `write` into the
// Protobuf message and `read` out of it. `read` never fails: a number too large for its type
// becomes one that the checks on values refuse.

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "messages/error.hpp"

namespace baton {

/// Parses bytes as one Protobuf message of at most `limit` bytes.
template <class Message>
[[nodiscard]] expected<Message> parse(std::string_view bytes, std::size_t limit,
                                      std::string_view what) {
  if (bytes.size() > limit)
    return fail(errc::invalid_argument, "{}: {} bytes exceed {}", what, bytes.size(), limit);
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return fail(errc::invalid_argument, "{}: {} bytes that are none", what, bytes.size());
  return message;
}

/// Returns the enumerator of a number; 255, which no enum has, if it cannot be one.
template <class Enum>
[[nodiscard]] Enum read_enum(int number) noexcept {
  static_assert(sizeof(Enum) == 1);
  return static_cast<Enum>(std::min(static_cast<unsigned>(number), 255u));
}

/// Returns a Protobuf enumerator; the numbers are the same on both sides.
template <class Wire, class Enum>
[[nodiscard]] Wire write_enum(Enum value) noexcept {
  return static_cast<Wire>(value);
}

} // namespace baton
