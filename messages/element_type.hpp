#pragma once

#include <cstdint>
#include <string_view>

namespace baton {

/// Element types of a cache. The numbers are part of the wire format.
enum class element_type : std::uint8_t { fp32 = 1, bf16, fp16, fp8_e4m3, int8, byte };
inline constexpr element_type last_element_type = element_type::byte;

[[nodiscard]] std::string_view to_string(element_type type) noexcept;

/// Returns the size of one element in bytes; 0 for a number that is no type.
[[nodiscard]] constexpr std::uint32_t size_of(element_type type) noexcept {
  switch (type) {
  case element_type::fp32:
    return 4;
  case element_type::bf16:
  case element_type::fp16:
    return 2;
  case element_type::fp8_e4m3:
  case element_type::int8:
  case element_type::byte:
    return 1;
  }
  return 0;
}

} // namespace baton
