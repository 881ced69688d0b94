#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <utility>

#include "messages/error.hpp"

namespace baton {

/// Why something does not work any more. Thread-safe.
class failure_note {
public:
  /// Notes a failure; the first one stays.
  void set(error why) {
    const std::lock_guard lock{mutex_};
    if (!why_)
      why_ = std::move(why);
    any_.store(true, std::memory_order_release);
  }

  [[nodiscard]] std::optional<error> get() const {
    if (!any_.load(std::memory_order_acquire))
      return std::nullopt;
    const std::lock_guard lock{mutex_};
    return why_;
  }

private:
  mutable std::mutex mutex_;
  std::optional<error> why_;
  std::atomic<bool> any_{false}; ///< spares those who ask the lock
};

} // namespace baton
