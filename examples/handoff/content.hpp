#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "examples/handoff/blocks.hpp"
#include "examples/handoff/scenario.hpp"
#include "messages/layout.hpp"

namespace baton::handoff {

/// The pools of one rank, and what a scenario puts where. All members are views.
struct rank_cache {
  const scenario& run;
  const rank_layout& layout;
  const std::vector<request_tables>& tables; ///< per request, see `draw_blocks`
  std::vector<std::span<std::byte>> pools;   ///< as many and as large as the layout says
};

/// Bytes that are not what they must be.
struct wrong_bytes {
  std::uint64_t mismatched = 0; ///< in what a completed request was to receive
  std::uint64_t stray = 0;      ///< where nobody had any business to write

  wrong_bytes& operator+=(const wrong_bytes& other) noexcept;
};

/// Sets every byte of every pool to `untouched`.
void clear_pools(const rank_cache& cache);

/// Writes the elements of all tokens that the block tables hold.
void write_requests(const rank_cache& cache);

/// Checks a context rank: its pools must be as `write_requests` left them.
[[nodiscard]] wrong_bytes check_context(const rank_cache& cache);

/// Checks a generation rank: the wanted elements of completed requests must be there, and all
/// blocks that no request had, or that were cached as a whole, must be untouched.
///
/// @param completed  per request of the scenario.
[[nodiscard]] wrong_bytes check_generation(const rank_cache& cache,
                                           const std::vector<bool>& completed);

/// Counts the wrong bytes of what one completed request was to bring to a generation rank.
[[nodiscard]] std::uint64_t check_request(const rank_cache& cache, std::size_t request);

/// Rewrites all blocks of a request with `rewritten`, as an engine does that gives them to another
/// one.
///
/// @returns what was written.
[[nodiscard]] std::vector<std::span<std::byte>> rewrite_request(const rank_cache& cache,
                                                                std::size_t request);

/// Checks a rank whose requests were rewritten when they ended: nobody may have written their
/// blocks since, nor those that no request had.
///
/// @param ended  per request of the scenario.
[[nodiscard]] wrong_bytes check_rewritten(const rank_cache& cache, const std::vector<bool>& ended);

} // namespace baton::handoff
