#pragma once

#include <cuda_runtime_api.h>

#include "gpu/cuda/copy_args.hpp"

namespace baton {

/// Threads of one block.
inline constexpr std::uint32_t load_store_threads = 512;
inline constexpr std::uint32_t bulk_threads = 128;

/// Bytes of shared memory that a block of the bulk kernel takes.
[[nodiscard]] int bulk_shared_bytes() noexcept;

/// Makes the kernels ready on the current device. `bulk`: also those for sm_90 and later.
[[nodiscard]] cudaError_t prepare_copy_kernels(bool bulk) noexcept;

/// Brings pairs of slots out of page-locked host memory into the GPU's own. A kernel, since the
/// engines for copies from the host may be busy for long with somebody else's.
[[nodiscard]] cudaError_t launch_upload(const copy_pair* from, copy_pair* to, std::uint64_t count,
                                        cudaStream_t stream) noexcept;

/// Any alignment, any size.
[[nodiscard]] cudaError_t launch_load_store(const copy_args& args, std::uint32_t blocks,
                                            cudaStream_t stream) noexcept;

/// Only for items that are multiples of 16 bytes at addresses that are, too.
[[nodiscard]] cudaError_t launch_bulk(const copy_args& args, std::uint32_t blocks,
                                      cudaStream_t stream) noexcept;

} // namespace baton
