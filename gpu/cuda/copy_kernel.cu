#include "gpu/cuda/copy_kernel.hpp"

#include "gpu/cuda/copy_bulk.cuh"
#include "gpu/cuda/copy_load_store.cuh"

namespace baton {
namespace {

constexpr device::bulk_shape bulk{
    .warps = bulk_threads / 32, .issuers = 4, .slots = 6, .chunk = 2048};

__global__ void __launch_bounds__(load_store_threads, 1)
    load_store_kernel(const __grid_constant__ copy_args args) {
  device::copy_by_load_store<8>(args);
}

__global__ void __launch_bounds__(bulk_threads, 1)
    bulk_kernel(const __grid_constant__ copy_args args) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) std::byte shared[];
  device::copy_by_bulk<bulk>(args, shared);
#endif
}

} // namespace

cudaError_t prepare_copy_kernels(bool with_bulk) noexcept {
  cudaFuncAttributes facts{};
  const cudaError_t status = cudaFuncGetAttributes(&facts, load_store_kernel);
  if (status != cudaSuccess || !with_bulk)
    return status;
  return cudaFuncSetAttribute(bulk_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(bulk.shared_bytes()));
}

cudaError_t launch_load_store(const copy_args& args, std::uint32_t blocks,
                              cudaStream_t stream) noexcept {
  load_store_kernel<<<blocks, load_store_threads, 0, stream>>>(args);
  return cudaGetLastError();
}

cudaError_t launch_bulk(const copy_args& args, std::uint32_t blocks, cudaStream_t stream) noexcept {
  bulk_kernel<<<blocks, bulk_threads, bulk.shared_bytes(), stream>>>(args);
  return cudaGetLastError();
}

} // namespace baton
