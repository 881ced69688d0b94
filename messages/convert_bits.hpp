#pragma once

#include <cstdint>

#include "messages/element_type.hpp"

// The rules of messages/conversion.hpp, one element at a time, for host and device code alike: no
// branches, so that loops over them vectorize. Floating-point arithmetic is only used where it is
// exact or rounds as the rule says, in the default rounding mode.

#ifdef __CUDACC__
#define BATON_HOST_DEVICE __host__ __device__
#else
#define BATON_HOST_DEVICE
#endif

namespace baton::bits {

using u32 = std::uint32_t;

BATON_HOST_DEVICE inline float as_float(u32 bits) noexcept {
  return __builtin_bit_cast(float, bits);
}

BATON_HOST_DEVICE inline u32 as_bits(float value) noexcept {
  return __builtin_bit_cast(u32, value);
}

inline constexpr u32 fp32_infinity = 0x7f800000;

BATON_HOST_DEVICE inline u32 fp32_of_bf16(u32 from) noexcept {
  return from << 16;
}

BATON_HOST_DEVICE inline u32 fp32_of_fp16(u32 from) noexcept {
  constexpr u32 bias = (127 - 15) << 23;
  constexpr u32 least_normal = 0x0400u << 13;
  constexpr u32 infinity = 0x7c00u << 13;
  const u32 magnitude = (from & 0x7fff) << 13;
  // A subnormal number is what is behind the point of a number with one more in its exponent.
  constexpr u32 one_more = bias + (1u << 23);
  const u32 subnormal = as_bits(as_float(magnitude + one_more) - as_float(one_more));
  u32 result = magnitude < least_normal ? subnormal : magnitude + bias;
  result = magnitude >= infinity ? fp32_infinity : result;
  result |= (from & 0x8000) << 16;
  return magnitude > infinity ? 0x7fffffff : result;
}

BATON_HOST_DEVICE inline u32 bf16_of_fp32(u32 from) noexcept {
  const u32 rounded = (from + 0x7fff + (from >> 16 & 1)) >> 16;
  return (from & 0x7fffffff) > fp32_infinity ? 0x7fff : rounded;
}

/// Rounds to `mantissa` bits and an exponent of the given bias; what is larger than `most` becomes
/// `most`. Of `magnitude` the sign bit is 0. NaN is not looked after.
template <u32 mantissa, u32 bias, u32 most>
BATON_HOST_DEVICE inline u32 rounded_to(u32 magnitude) noexcept {
  constexpr u32 shift = 23 - mantissa;
  constexpr u32 rebias = (127 - bias) << 23;
  constexpr u32 least_normal = rebias + (1u << 23);
  const u32 odd = magnitude >> shift & 1;
  const u32 normal = (magnitude - rebias + (1u << (shift - 1)) - 1 + odd) >> shift;
  // Added to a number whose last bit is worth as much as the smallest subnormal one, it is rounded.
  constexpr u32 anchor = rebias + ((shift + 1) << 23);
  const u32 subnormal = as_bits(as_float(magnitude) + as_float(anchor)) - anchor;
  const u32 result = magnitude < least_normal ? subnormal : normal;
  return result > most ? most : result;
}

BATON_HOST_DEVICE inline u32 fp16_of_fp32(u32 from) noexcept {
  const u32 magnitude = from & 0x7fffffff;
  const u32 result = rounded_to<10, 15, 0x7c00>(magnitude) | (from >> 16 & 0x8000);
  return magnitude > fp32_infinity ? 0x7fff : result;
}

BATON_HOST_DEVICE inline u32 fp8_of_fp32(u32 from) noexcept {
  const u32 magnitude = from & 0x7fffffff;
  const u32 result = rounded_to<3, 7, 0x7e>(magnitude) | (from >> 24 & 0x80);
  return magnitude > fp32_infinity ? 0x7f : result;
}

/// An element of type `from`, converted to fp32.
template <element_type from>
BATON_HOST_DEVICE inline u32 widened(u32 element) noexcept {
  if constexpr (from == element_type::bf16)
    return fp32_of_bf16(element);
  else if constexpr (from == element_type::fp16)
    return fp32_of_fp16(element);
  else
    return element;
}

/// An element of fp32, converted to type `to`.
template <element_type to>
BATON_HOST_DEVICE inline u32 narrowed(u32 element, float factor) noexcept {
  if constexpr (to == element_type::bf16)
    return bf16_of_fp32(element);
  else if constexpr (to == element_type::fp16)
    return fp16_of_fp32(element);
  else if constexpr (to == element_type::fp8_e4m3)
    return fp8_of_fp32(as_bits(as_float(element) * factor));
  else
    return element;
}

template <element_type from, element_type to>
BATON_HOST_DEVICE inline u32 converted(u32 element, float factor) noexcept {
  return narrowed<to>(widened<from>(element), factor);
}

} // namespace baton::bits
