#include "gpu/cuda/convert_kernel.hpp"

#include <array>
#include <utility>

#include "gpu/cuda/copy_convert.cuh"

namespace baton {
namespace {

template <element_type from, element_type to>
__global__ void __launch_bounds__(load_store_threads, 1)
    convert_kernel(const __grid_constant__ copy_args args) {
  device::copy_converted<device::converter<from, to>>(args);
}

using kernel = void (*)(copy_args);

template <std::size_t... index>
constexpr std::array<kernel, sizeof...(index)> all_kernels(std::index_sequence<index...>) {
  return {convert_kernel<conversions[index].from, conversions[index].to>...};
}

constexpr auto kernels = all_kernels(std::make_index_sequence<conversions.size()>{});

} // namespace

cudaError_t prepare_convert_kernels() noexcept {
  for (const kernel one : kernels) {
    cudaFuncAttributes facts{};
    if (const cudaError_t status = cudaFuncGetAttributes(&facts, one); status != cudaSuccess)
      return status;
  }
  return cudaSuccess;
}

cudaError_t launch_convert(std::size_t index, const copy_args& args, std::uint32_t blocks,
                           cudaStream_t stream) noexcept {
  kernels[index]<<<blocks, load_store_threads, 0, stream>>>(args);
  return cudaGetLastError();
}

} // namespace baton
