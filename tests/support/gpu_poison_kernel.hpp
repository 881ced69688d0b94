#pragma once

#include <cuda_runtime_api.h>

namespace baton::test {

/// @param address where the kernel writes at last; null: it stops itself.
cudaError_t launch_poison_kernel(int* address, unsigned long long nanoseconds, cudaStream_t stream);

} // namespace baton::test
