#pragma once

#include <string_view>

#include "gpu/capture_scope.hpp"
#include "gpu/cuda/driver.hpp"
#include "gpu/cuda/error.hpp"

namespace baton {

/// Calls a function of the driver.
template <class Function, class... Args>
[[nodiscard]] expected<> call(Function driver_api::*function, std::string_view name, Args... args) {
  const auto api = driver();
  if (!api)
    return fail(api.error());
  return check(((*api)->*function)(args...), name);
}

/// Whether the work that a query of the driver asks for has ended.
template <class Function, class Handle>
[[nodiscard]] expected<bool> ended(Function driver_api::*function, std::string_view work,
                                   Handle handle) {
  const auto api = driver();
  if (!api)
    return fail(api.error());
  const capture_scope relaxed;
  const CUresult status = ((*api)->*function)(handle);
  // Of a capture the query says nothing about the work.
  if (status == CUDA_ERROR_NOT_READY || status == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
    return false;
  if (auto done = check(status, work); !done)
    return fail(done.error());
  return true;
}

} // namespace baton
