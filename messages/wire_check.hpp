#pragma once

// Internal to messages/: what decoded messages must keep.

#include "messages/wire.hpp"

namespace baton {

/// Checks limits, counts, ranges, enumerators and epochs.
///
/// @returns `invalid_argument` with a text that names the field.
[[nodiscard]] expected<> check(const wire_message& message);

} // namespace baton
