#include "gpu/cuda/error.hpp"

#include "gpu/cuda/driver.hpp"

namespace baton {
namespace {

error worded(bool memory, std::string_view call, std::string_view name, std::string_view text) {
  if (memory)
    return {errc::out_of_resources,
            fmt::format("{}: {} ({}); free memory, or ask for less", call, text, name)};
  return {errc::gpu_failed, fmt::format("{}: {} ({})", call, text, name)};
}

} // namespace

error gpu_error(cudaError_t status, std::string_view call) {
  static_cast<void>(cudaGetLastError());
  return worded(status == cudaErrorMemoryAllocation, call, cudaGetErrorName(status),
                cudaGetErrorString(status));
}

error gpu_error(CUresult status, std::string_view call) {
  const char* name = nullptr;
  const char* text = nullptr;
  if (const auto api = driver()) {
    (*api)->get_error_name(status, &name);
    (*api)->get_error_string(status, &text);
  }
  return worded(status == CUDA_ERROR_OUT_OF_MEMORY, call,
                name != nullptr ? name : fmt::format("CUresult {}", static_cast<int>(status)),
                text != nullptr ? text : "unknown error of the driver");
}

} // namespace baton
