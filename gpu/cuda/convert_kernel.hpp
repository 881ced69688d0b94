#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "gpu/cuda/copy_kernel.hpp"

namespace baton {

/// Makes the kernels of all conversions ready on the current device.
[[nodiscard]] cudaError_t prepare_convert_kernels() noexcept;

/// Moves tiles that are converted, `load_store_threads` a block. Any alignment.
///
/// @param index into `conversions`.
[[nodiscard]] cudaError_t launch_convert(std::size_t index, const copy_args& args,
                                         std::uint32_t blocks, cudaStream_t stream) noexcept;

} // namespace baton
