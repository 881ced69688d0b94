#include "gpu/cuda/context.hpp"

#include <cuda_runtime_api.h>

#include "gpu/cuda/driver.hpp"
#include "gpu/cuda/error.hpp"
#include "gpu/device.hpp"
#include "gpu/inspect.hpp"

namespace baton {

expected<> known_gpu(int ordinal) {
  int count = 0;
  if (auto done = check(cudaGetDeviceCount(&count), "cudaGetDeviceCount"); !done)
    return done;
  if (ordinal < 0 || ordinal >= count)
    return fail(errc::invalid_argument, "GPU {} does not exist: this process sees {} of them",
                ordinal, count);
  return {};
}

context_scope::context_scope(CUcontext context) noexcept {
  enter(context);
}

context_scope::context_scope(gpu_stream_ref stream, const void* memory) noexcept {
  const auto api = driver();
  if (!api)
    return;
  CUcontext context = nullptr;
  if (stream.handle != nullptr) {
    (*api)->stream_context(static_cast<CUstream>(stream.handle), &context);
  } else if (const auto facts = inspect_memory(memory, 1); facts && facts->device >= 0) {
    if (const auto primary = primary_context(facts->device))
      context = *primary;
  }
  enter(context);
}

context_scope::~context_scope() {
  CUcontext left = nullptr;
  if (entered_)
    (*driver())->context_pop(&left);
}

void context_scope::enter(CUcontext context) noexcept {
  if (const auto api = driver(); api && context != nullptr)
    entered_ = (*api)->context_push(context) == CUDA_SUCCESS;
}

// -- the public scopes ----

capture_scope::capture_scope() noexcept {
  const auto api = driver();
  auto mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  if (api && (*api)->exchange_capture_mode(&mode) == CUDA_SUCCESS)
    before_ = mode;
}

capture_scope::~capture_scope() {
  auto mode = static_cast<CUstreamCaptureMode>(before_);
  if (before_ >= 0)
    (*driver())->exchange_capture_mode(&mode);
}

gpu_scope::gpu_scope(int ordinal) noexcept {
  const auto api = driver();
  const auto context = primary_context(ordinal);
  entered_ = api && context && (*api)->context_push(*context) == CUDA_SUCCESS;
}

gpu_scope::~gpu_scope() {
  CUcontext left = nullptr;
  if (entered_)
    (*driver())->context_pop(&left);
}

} // namespace baton
