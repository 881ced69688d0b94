#pragma once

#include <utility>

namespace baton {

/// Owns one C handle and releases it with `Release`. Empty after default construction or a move.
/// Not thread-safe.
template <class Handle, auto Release>
class unique_handle {
public:
  unique_handle() = default;
  explicit unique_handle(Handle handle) noexcept : handle_{handle} {}
  unique_handle(unique_handle&& other) noexcept : handle_{std::exchange(other.handle_, Handle{})} {}
  unique_handle& operator=(unique_handle other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~unique_handle() {
    if (handle_ != Handle{})
      Release(handle_);
  }

  /// Returns the raw handle. It stays valid no longer than this object.
  [[nodiscard]] Handle get() const noexcept { return handle_; }
  explicit operator bool() const noexcept { return handle_ != Handle{}; }

private:
  Handle handle_{};
};

} // namespace baton
