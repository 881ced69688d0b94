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

} // namespace baton::handoff
