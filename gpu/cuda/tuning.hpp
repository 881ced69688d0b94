#pragma once

#include <cstdint>

namespace baton::tuning {

/// Shorter tiles go to the load/store kernel: many lanes share them, while a bulk copy costs the
/// same for 16 bytes as for 1 KiB. By 16 thread blocks of an H200, within its own memory: 534 GB/s
/// at 512 B and 586 at 1 KiB, where bulk copies did 202 and 395; from 2 KiB on both do about 600.
inline constexpr std::uint32_t bulk_least_bytes = 2048;

/// A warp takes about so much at a time: enough to hide what it costs to take it, little enough
/// that all warps end together. A warp looks at the abort word each time.
inline constexpr std::uint32_t batch_bytes = 32u << 10;

/// A small job gets a thread block for each so many bytes.
inline constexpr std::uint64_t bytes_per_block = 16u << 10;

/// A launch is not queued behind kernels of others that move more, for each thread block of its
/// own: it could not be given up before they have ended.
inline constexpr std::uint64_t most_bytes_ahead = 2u << 20;

/// Pairs that the first kernel of a large job gets, so that it starts soon; each later one gets
/// twice as many.
inline constexpr std::uint64_t first_pairs = 16u << 10;

/// Launches that wait in a stream, so that the GPU does not idle between two.
inline constexpr std::uint32_t launches_per_stream = 4;

} // namespace baton::tuning
