#pragma once

#include <cstddef>
#include <cstdint>

#include "examples/bench/actor_pair.hpp"
#include "examples/bench/report.hpp"

namespace baton::bench {

inline constexpr std::uint32_t latency_layers = 4; ///< of `fragment_bytes` each: one block

/// Measures `request_and_receive_sync` for requests of one block, and bare round trips of CAF, in
/// turns; then checks all bytes and ends the ranks.
///
/// @param batch requests of one run. The ranks have blocks for one of warm-up, and for each run.
/// @param most how many times as long as a bare round trip a request may take.
[[nodiscard]] findings compare_latency(actor_pair& ranks, std::size_t runs, std::uint32_t batch,
                                       double most);

} // namespace baton::bench
