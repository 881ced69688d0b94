#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

namespace baton::handoff {

/// Bytes as text, since JSON carries no bytes.
[[nodiscard]] inline std::string as_hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes)
    text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

/// The bytes of such a text.
[[nodiscard]] inline std::string from_hex(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string{text.substr(i, 2)}, nullptr, 16));
  return bytes;
}

} // namespace baton::handoff
