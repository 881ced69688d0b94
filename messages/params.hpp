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

/// Limit of these bytes; most of it is room for a ticket.
inline constexpr std::size_t params_bytes = 64u << 10;

/// Serializes as `baton.wire.DisaggregatedParams`: a version, and bytes that only this version
/// reads.
[[nodiscard]] std::string encode(const disaggregated_params& params);

/// Parses and checks what `encode` made, on this or another host. Never throws. Later versions may
/// carry more; fields that this one does not know are ignored. A ticket that it cannot read is left
/// out: the receivers ask.
///
/// @returns `version_mismatch` for bytes of another version, `invalid_argument` for anything else
///          that is none; the text names the field.
[[nodiscard]] expected<disaggregated_params> decode_params(std::string_view bytes);

} // namespace baton
