#pragma once

#include <filesystem>
#include <vector>

#include "examples/handoff/content.hpp"
#include "messages/error.hpp"
#include "messages/state.hpp"

namespace baton::handoff {

/// Writes what an independent check needs of one rank: `<side>-<rank>.json` and one raw file per
/// pool.
///
/// @param directory  exists.
/// @param states     per request of the scenario; where the rank has no part, it is not looked at.
/// @returns `out_of_resources` when a file cannot be written; the text names it.
[[nodiscard]] expected<> dump_rank(const std::filesystem::path& directory, const rank_cache& cache,
                                   const std::vector<request_state>& states);

/// Removes what an earlier run left of these ranks, so that ranks that do not survive leave nothing
/// behind.
void clear_dump(const std::filesystem::path& directory, const scenario& run);

} // namespace baton::handoff
