#pragma once

// Internal to messages/: what all codecs share. A codec has, for each type, `write` into the
// Protobuf message and `read` out of it. `read` never fails: a number too large for its type
// becomes one that the checks on values refuse.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

#include "messages/error.hpp"
#include "messages/wire.hpp"
#include "messages/wire_shape.hpp"

namespace baton {

/// Parses bytes as one Protobuf message of at most `limit` bytes, with no more messages in it than
/// `fields` allows.
template <class Message>
[[nodiscard]] expected<Message> parse(std::string_view bytes, std::size_t limit,
                                      std::string_view what,
                                      std::span<const field_shape> fields = {}) {
  if (bytes.size() > limit)
    return fail(errc::invalid_argument, "{}: {} bytes exceed {}", what, bytes.size(), limit);
  if (auto ok = check_shape(bytes, fields, what); !ok)
    return fail(std::move(ok.error()));
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

/// Layers are the fields `first_layer` and `end_layer` of a message; none means all.
template <class Message>
void write_layers(layer_range layers, Message& out) {
  out.set_first_layer(layers.begin);
  if (layers.end != layer_range::no_end)
    out.set_end_layer(layers.end);
}

template <class Message>
[[nodiscard]] layer_range read_layers(const Message& in) noexcept {
  return {in.first_layer(), in.has_end_layer() ? in.end_layer() : layer_range::no_end};
}

/// Milliseconds that are left, cut to `wire_limits::remaining`.
[[nodiscard]] inline std::uint64_t write_remaining(std::chrono::milliseconds remaining) noexcept {
  using std::chrono::milliseconds;
  return static_cast<std::uint64_t>(
      std::clamp<milliseconds>(remaining, milliseconds{0}, wire_limits::remaining).count());
}

[[nodiscard]] inline std::chrono::milliseconds read_remaining(std::uint64_t count) noexcept {
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  return std::chrono::milliseconds{static_cast<std::int64_t>(std::min<std::uint64_t>(count, most))};
}

} // namespace baton
