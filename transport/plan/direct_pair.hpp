#pragma once

#include "messages/error.hpp"
#include "messages/layout.hpp"
#include "transport/plan/pairs.hpp"

namespace baton {

/// Returns what both ranks hold, whatever other ranks of their instances do: the pair for pulls
/// that are no request's. May have no parts.
///
/// @returns `incompatible_layout` unless the two are `compatible`.
[[nodiscard]] expected<rank_pair> make_direct_pair(const rank_layout& source,
                                                   const rank_layout& destination);

} // namespace baton
