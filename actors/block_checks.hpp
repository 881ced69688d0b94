#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "messages/error.hpp"
#include "messages/layout.hpp"

namespace baton {

/// Checks that blocks which an engine names begin at a block's first token and lie in their pool.
///
/// @param subject  whose they are, e.g. "request 7"; begins the text of an error.
/// @param beam     names their beam in the text, e.g. " of beam 1"; empty: none.
/// @param first    first token of the first block; of state, whatever the caller has checked.
///
/// @returns `invalid_argument`; the text names the field and the value.
[[nodiscard]] expected<> check_blocks(const rank_layout& layout, const group_layout& group,
                                      std::string_view subject, std::string_view beam,
                                      std::uint32_t first,
                                      const std::vector<std::uint32_t>& blocks);

} // namespace baton
