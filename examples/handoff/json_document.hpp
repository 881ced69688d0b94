#pragma once

#include <cstddef>
#include <string_view>

#include <nlohmann/json.hpp>

namespace baton::handoff {

inline constexpr std::size_t most_document_bytes = 64u << 20;

/// Parses a text of at most `most_document_bytes` and 32 levels. Unlike the parser alone it refuses
/// a key that an object has twice, of which one value would get lost.
///
/// @throws bad_field naming the key, `nlohmann::json::exception` for text that is no JSON.
[[nodiscard]] nlohmann::json parse_document(std::string_view text);

} // namespace baton::handoff
