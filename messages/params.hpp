#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "messages/error.hpp"
#include "messages/wire.hpp"

/// `disaggregated_params` as bytes: a router carries them as they are from the context side to the
/// generation side of a request, and need not know what is in them.
namespace baton {

/// The version of these bytes.
inline constexpr std::uint32_t params_version = 1;

/// Limit of these bytes; most of it is room for later versions.
inline constexpr std::size_t params_bytes = 64u << 10;

/// Serializes as `baton.wire.DisaggregatedParams`: a version, and bytes that only this version
/// reads.
[[nodiscard]] std::string encode(const disaggregated_params& params);

/// Parses and checks what `encode` made, on this or another host. Never throws. Later versions may
/// carry more (grants given ahead of the question); fields that this one does not know are ignored.
///
/// @returns `version_mismatch` for bytes of another version, `invalid_argument` for anything else
///          that is none; the text names the field.
[[nodiscard]] expected<disaggregated_params> decode_params(std::string_view bytes);

} // namespace baton
