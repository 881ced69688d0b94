#pragma once

#include <string_view>

#include <nlohmann/json.hpp>

namespace baton::handoff {

/// Parses a text. Unlike the parser alone it refuses a key that an object has twice, of which one
/// value would get lost.
///
/// @throws bad_field naming the key, `nlohmann::json::exception` for text that is no JSON.
[[nodiscard]] nlohmann::json parse_document(std::string_view text);

} // namespace baton::handoff
