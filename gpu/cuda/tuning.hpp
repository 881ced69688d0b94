#pragma once

#include <cstdint>

namespace baton::tuning {

/// Shorter tiles go to the load/store kernel: many lanes share them, while a bulk copy costs the
/// same for 16 bytes as for 1 KiB.
inline constexpr std::uint32_t bulk_least_bytes = 512;

/// A warp takes about so much at a time: enough to hide what it costs to take it, little enough
/// that all warps end together. It also bounds how far a warp runs between two looks at the abort
/// word.
inline constexpr std::uint32_t batch_bytes = 32u << 10;

/// A small job gets a thread block for each so many bytes.
inline constexpr std::uint64_t bytes_per_block = 16u << 10;

/// Launches that wait in a stream, so that the GPU does not idle between two.
inline constexpr std::uint32_t launches_per_stream = 4;

} // namespace baton::tuning
