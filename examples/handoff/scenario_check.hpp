#pragma once

#include "examples/handoff/scenario.hpp"
#include "messages/error.hpp"

namespace baton::handoff {

/// Checks what only shows once the layouts of all ranks are there: that each is valid, that the two
/// instances fit, that there are blocks enough, and that every fault can come to its point.
///
/// @returns `invalid_argument` or `incompatible_layout`; the text names the scenario's field.
[[nodiscard]] expected<> check_ranks(const scenario& run);

} // namespace baton::handoff
