#pragma once

#include <cuda.h>

#include "gpu/capture_scope.hpp"
#include "gpu/stream.hpp"
#include "messages/error.hpp"

namespace baton {

/// Nothing for an ordinal of this process; else `invalid_argument`, or `gpu_failed` without a
/// driver.
[[nodiscard]] expected<> known_gpu(int ordinal);

/// Makes a context the calling thread's current one for a scope; none if it is null. A
/// `capture_scope` as well.
///
/// It pushes and pops. To call cudaSetDevice and to set the previous GPU again would make a context
/// on GPU 0 for a thread that had none, which takes half a gigabyte there.
class context_scope {
public:
  explicit context_scope(CUcontext context) noexcept;
  /// The context of a stream; of the GPU that `memory` lies on for the default stream.
  context_scope(gpu_stream_ref stream, const void* memory) noexcept;
  ~context_scope();
  context_scope(const context_scope&) = delete;
  context_scope& operator=(const context_scope&) = delete;

  [[nodiscard]] bool entered() const noexcept { return entered_; }

private:
  void enter(CUcontext context) noexcept;

  capture_scope capture_;
  bool entered_ = false;
};

} // namespace baton
