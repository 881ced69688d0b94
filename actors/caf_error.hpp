#pragma once

#include <caf/error.hpp>

#include "messages/error.hpp"

namespace baton {

/// Turns an error into one of CAF's, in the category "baton" with the text as context.
[[nodiscard]] caf::error to_caf(const error& err);

/// Turns one of CAF's errors into ours: those of the category "baton" come back as they were, a
/// request timeout becomes `timed_out`, anything else `peer_lost` with CAF's own text. `what` says
/// what failed.
[[nodiscard]] error from_caf(const caf::error& err, std::string_view what);

} // namespace baton
