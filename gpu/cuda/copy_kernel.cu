#include "gpu/cuda/copy_kernel.hpp"

#include <algorithm>

#include "gpu/cuda/copy_bulk.cuh"
#include "gpu/cuda/copy_load_store.cuh"
#include "gpu/cuda/upload.cuh"

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

constexpr std::uint32_t upload_threads = 256;
constexpr std::uint32_t upload_flights = 8;
constexpr std::uint64_t most_upload_blocks = 8;

__global__ void __launch_bounds__(upload_threads)
    upload_kernel(const uint2* from, uint2* to, std::uint64_t count) {
  device::upload<upload_flights>(from, to, count);
}

} // namespace

int bulk_shared_bytes() noexcept {
  return static_cast<int>(bulk.shared_bytes());
}

cudaError_t prepare_copy_kernels(bool with_bulk) noexcept {
  cudaFuncAttributes facts{};
  cudaError_t status = cudaFuncGetAttributes(&facts, load_store_kernel);
  if (status == cudaSuccess)
    status = cudaFuncGetAttributes(&facts, upload_kernel);
  if (status != cudaSuccess || !with_bulk)
    return status;
  return cudaFuncSetAttribute(bulk_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              bulk_shared_bytes());
}

cudaError_t launch_upload(const copy_pair* from, copy_pair* to, std::uint64_t count,
                          cudaStream_t stream) noexcept {
  constexpr std::uint64_t each = upload_threads * upload_flights;
  const auto blocks =
      static_cast<std::uint32_t>(std::min((count + each - 1) / each, most_upload_blocks));
  upload_kernel<<<blocks, upload_threads, 0, stream>>>(reinterpret_cast<const uint2*>(from),
                                                       reinterpret_cast<uint2*>(to), count);
  return cudaGetLastError();
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
