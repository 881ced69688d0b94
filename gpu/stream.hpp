#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "messages/error.hpp"

namespace baton {

struct gpu_event_ref;

/// A caller's `cudaStream_t` (or CUstream), borrowed. Empty: the legacy default stream.
struct gpu_stream_ref {
  void* handle = nullptr;

  friend bool operator==(const gpu_stream_ref&, const gpu_stream_ref&) = default;
};

/// How urgent the work of a stream is.
enum class gpu_priority : std::uint8_t {
  high,   ///< above what engines use, so that short kernels are not starved by long ones of a model
  urgent, ///< above `high`, for what must not wait behind that: streams of one priority may share
          ///< one of the few queues of the GPU
};

/// Owns a CUDA stream that does not synchronize with the default stream. Empty after a move. Not
/// thread-safe.
class gpu_stream {
public:
  /// @returns `gpu_failed`, or `invalid_argument` for an unknown GPU.
  [[nodiscard]] static expected<gpu_stream> create(int device,
                                                   gpu_priority priority = gpu_priority::high);

  gpu_stream() = default;
  gpu_stream(gpu_stream&& other) noexcept : handle_{std::exchange(other.handle_, nullptr)} {}
  gpu_stream& operator=(gpu_stream other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  /// Does not wait: CUDA frees the stream once its work has ended.
  ~gpu_stream();

  [[nodiscard]] gpu_stream_ref ref() const noexcept { return {handle_}; }

private:
  explicit gpu_stream(void* handle) noexcept : handle_{handle} {}

  void* handle_ = nullptr;
};

/// Makes all later work of the stream wait for the event. Never blocks the caller.
[[nodiscard]] expected<> wait_for(gpu_stream_ref stream, gpu_event_ref event);

/// Blocks until the stream's work has ended.
///
/// @returns `timed_out` if it did not within `limit`, `gpu_failed` if it failed.
[[nodiscard]] expected<> finish(gpu_stream_ref stream, std::chrono::milliseconds limit);

/// Queues a contiguous copy between any two of device memory, mapped peer memory, pinned and
/// pageable host memory. Memory of another GPU of this process needs no peer access.
///
/// @param bytes may be 0. Both ranges must stay valid until the copy has ended.
[[nodiscard]] expected<> copy_async(void* to, const void* from, std::size_t bytes,
                                    gpu_stream_ref stream);

/// Queues the writing of `bytes` equal bytes to device memory.
[[nodiscard]] expected<> fill_async(void* to, std::byte value, std::size_t bytes,
                                    gpu_stream_ref stream);

/// Copies like `copy_async`, and blocks until the bytes are there. For set-up and tests: it may
/// wait for other work of the GPU.
[[nodiscard]] expected<> copy_now(void* to, const void* from, std::size_t bytes);

} // namespace baton
