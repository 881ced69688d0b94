#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "messages/element_type.hpp"

namespace baton {

// Conversion of elements on their way, where the receiver keeps its cache in another type than the
// source. The receiver converts: it reads, or is sent, the source's bytes. The rules are exact, and
// the same on the host and on every GPU, bit by bit (messages/convert_bits.hpp):
//
// - bf16 to fp32: exact; all bits are kept, those of a NaN as well.
// - fp16 to fp32: exact, subnormal numbers included.
// - fp32 to bf16 and to fp16: rounded to nearest, ties to even. What rounds to more than any finite
//   number becomes an infinity, what is small a subnormal number or a zero.
// - bf16 to fp16, and back: to fp32, and from there.
// - fp32, bf16 and fp16 to fp8_e4m3: to fp32, multiplied with the factor 1 / scale (both rounded to
//   nearest even in fp32), then rounded to nearest, ties to even. What is beyond +-448, infinities
//   included, becomes +-448. A reader gets the element back as stored * scale.
//
// Signs are kept, those of zeros as well. A NaN becomes the positive NaN of which all other bits
// are set (fp32 0x7fffffff, bf16 and fp16 0x7fff, fp8 0x7f), but for bf16 to fp32. Equal types are
// copied, whatever their bits. fp8_e4m3 is the E4M3 of the OCP: no infinities, one NaN of either
// sign. int8 and byte are never converted, nor is fp8_e4m3 as a source.

/// What is done to elements on their way. Default-constructed: nothing.
struct element_conversion {
  element_type from = element_type::byte;
  element_type to = element_type::byte; ///< equal to `from`: bytes are copied
  float factor = 1;                     ///< 1 / scale; other than 1 only to fp8_e4m3

  [[nodiscard]] bool needed() const noexcept { return from != to; }
  /// Bytes that come of `bytes` bytes of the source, which are whole elements.
  [[nodiscard]] std::uint64_t written(std::uint64_t bytes) const noexcept {
    return needed() ? bytes / size_of(from) * size_of(to) : bytes;
  }
  friend bool operator==(const element_conversion&, const element_conversion&) = default;
};

struct type_pair {
  element_type from = element_type::byte;
  element_type to = element_type::byte;

  friend bool operator==(const type_pair&, const type_pair&) = default;
};

/// All conversions there are.
inline constexpr std::array<type_pair, 9> conversions{{
    {element_type::fp32, element_type::bf16},
    {element_type::fp32, element_type::fp16},
    {element_type::fp32, element_type::fp8_e4m3},
    {element_type::bf16, element_type::fp32},
    {element_type::bf16, element_type::fp16},
    {element_type::bf16, element_type::fp8_e4m3},
    {element_type::fp16, element_type::fp32},
    {element_type::fp16, element_type::bf16},
    {element_type::fp16, element_type::fp8_e4m3},
}};

/// Returns the index into `conversions`; its size if the types are equal or there is none.
[[nodiscard]] constexpr std::size_t conversion_index(element_type from, element_type to) noexcept {
  std::size_t index = 0;
  while (index < conversions.size() && conversions[index] != type_pair{from, to})
    ++index;
  return index;
}

/// Whether a cache of one type can be handed to one of the other.
[[nodiscard]] constexpr bool can_hand_over(element_type from, element_type to) noexcept {
  return from == to || conversion_index(from, to) < conversions.size();
}

/// Says what a type can be converted to, e.g. "bf16 converts to fp32, fp16 or fp8_e4m3".
[[nodiscard]] std::string describe_conversions(element_type from);

/// Bounds of a scale. Within them no factor overflows or is subnormal, and what is subnormal in
/// fp32 rounds to zero in fp8_e4m3: results do not depend on whether a thread flushes subnormals.
inline constexpr float least_scale = 0x1p-100f;
inline constexpr float most_scale = 0x1p100f;

} // namespace baton
