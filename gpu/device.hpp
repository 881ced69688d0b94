#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "gpu/capture_scope.hpp"
#include "messages/error.hpp"

namespace baton {

/// One GPU as this process sees it. Ordinals differ between processes, UUIDs do not.
struct gpu_device {
  int ordinal = 0;
  std::string uuid; ///< "GPU-" and 32 hexadecimal digits in five groups, as nvidia-smi prints it
  std::string name;
  int multiprocessors = 0;
  int compute_major = 0; ///< compute capability, e.g. 9.0
  int compute_minor = 0;
};

/// Whether this library was built with CUDA. Without it every factory of gpu/ answers `gpu_failed`.
[[nodiscard]] bool gpu_support() noexcept;

/// Number of GPUs that this process may use; 0 without CUDA, without a driver, or without a GPU.
[[nodiscard]] int gpu_count() noexcept;

/// Describes the GPU of an ordinal. Thread-safe, as all of this header.
///
/// @returns `invalid_argument` for an ordinal outside of [0, gpu_count()), `gpu_failed` without
///          CUDA or a driver; the text says which.
[[nodiscard]] expected<gpu_device> describe_gpu(int ordinal);

/// Finds the GPU of a UUID.
///
/// @returns `invalid_argument` if this process does not see it.
[[nodiscard]] expected<gpu_device> find_gpu(std::string_view uuid);

/// Whether a kernel on GPU `reader` can read memory of GPU `owner` of this process. A GPU that this
/// process does not see (CUDA_VISIBLE_DEVICES) cannot be asked for; there, mapping tells.
[[nodiscard]] expected<bool> can_read_peer(int reader, int owner);

/// Lets kernels on GPU `reader` read plain allocations of GPU `owner` in this same process.
/// Idempotent. Memory of other processes needs no such call.
[[nodiscard]] expected<> enable_peer_reads(int reader, int owner);

/// Does something small on a GPU that no work of others can hold up. After some errors, such as an
/// illegal address in a kernel, nothing works in a process's context of that GPU any more.
///
/// @returns the error that CUDA answers with then; `out_of_resources` tells nothing of that.
[[nodiscard]] expected<> look_at_gpu(int ordinal);

/// Makes a GPU the calling thread's current one for a scope, and restores the previous one. A
/// `capture_scope` as well. Everything in gpu/ does this itself; it is for callers of CUDA
/// libraries.
class gpu_scope {
public:
  explicit gpu_scope(int ordinal) noexcept;
  ~gpu_scope();
  gpu_scope(const gpu_scope&) = delete;
  gpu_scope& operator=(const gpu_scope&) = delete;

private:
  capture_scope capture_;
  bool entered_ = false;
};

} // namespace baton
