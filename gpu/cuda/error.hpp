#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <string_view>

#include "messages/error.hpp"

namespace baton {

/// Turns a status of the runtime into an error: `out_of_resources` when memory is used up, else
/// `gpu_failed`. The text holds the call, the status's name, and CUDA's own words. Also takes the
/// status out of the thread's last-error variable, so that nobody else stumbles over it.
[[nodiscard]] error gpu_error(cudaError_t status, std::string_view call);

/// The same for the driver.
[[nodiscard]] error gpu_error(CUresult status, std::string_view call);

/// Nothing, or the error of a call that did not succeed.
template <class Status>
[[nodiscard]] expected<> check(Status status, std::string_view call) {
  if (status == Status{})
    return {};
  return fail(gpu_error(status, call));
}
static_assert(cudaError_t{} == cudaSuccess && CUresult{} == CUDA_SUCCESS);

} // namespace baton
