#pragma once

#include <chrono>
#include <utility>

#include "gpu/stream.hpp"
#include "messages/error.hpp"

namespace baton {

/// A caller's `cudaEvent_t` (or CUevent), borrowed. Empty: nothing to wait for.
struct gpu_event_ref {
  void* handle = nullptr;

  explicit operator bool() const noexcept { return handle != nullptr; }
  friend bool operator==(const gpu_event_ref&, const gpu_event_ref&) = default;
};

/// Whether all work that was in the event's stream when it was recorded has ended. True for an
/// empty reference and for an event that was never recorded. Never blocks. Thread-safe.
///
/// @returns `gpu_failed` if that work, or anything else in its CUDA context, failed.
[[nodiscard]] expected<bool> is_complete(gpu_event_ref event);

/// Owns a CUDA event. Empty after a move. Not thread-safe.
class gpu_event {
public:
  /// @param timed costs a little more, and allows `since`.
  /// @returns `gpu_failed`, or `invalid_argument` for an unknown GPU.
  [[nodiscard]] static expected<gpu_event> create(int device, bool timed = false);

  gpu_event() = default;
  gpu_event(gpu_event&& other) noexcept : handle_{std::exchange(other.handle_, nullptr)} {}
  gpu_event& operator=(gpu_event other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~gpu_event();

  /// Marks the point that the stream has reached. The stream must be of the event's GPU.
  [[nodiscard]] expected<> record(gpu_stream_ref stream);

  /// The time that the GPU took from `start` to this event. Both must be timed and complete.
  [[nodiscard]] expected<std::chrono::nanoseconds> since(const gpu_event& start) const;

  [[nodiscard]] gpu_event_ref ref() const noexcept { return {handle_}; }

private:
  explicit gpu_event(void* handle) noexcept : handle_{handle} {}

  void* handle_ = nullptr;
};

} // namespace baton
