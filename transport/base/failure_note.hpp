#pragma once

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
  }

  [[nodiscard]] std::optional<error> get() const {
    const std::lock_guard lock{mutex_};
    return why_;
  }

private:
  mutable std::mutex mutex_;
  std::optional<error> why_;
};

} // namespace baton
