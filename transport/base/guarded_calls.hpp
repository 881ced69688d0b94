#pragma once

#include <exception>
#include <optional>
#include <string>

namespace baton {

// Callers' callbacks must not throw. Should one do so, no thread may end of it and nobody else may
// miss his call.

/// Runs an action.
///
/// @returns what it threw, in words; nothing if it returned.
template <class Action>
[[nodiscard]] std::optional<std::string> thrown_by(Action&& action) noexcept {
  try {
    action();
    return std::nullopt;
  } catch (const std::exception& err) {
    return err.what();
  } catch (...) {
    return "not a std::exception";
  }
}

/// Runs an action until it returns. If it throws it must have got further than before.
template <class Action>
void run_to_end(Action&& action) noexcept {
  while (thrown_by(action)) {
  }
}

/// Calls all of them, also after one that throws; then throws what the last of those threw.
template <class Callbacks, class... Args>
void call_all(Callbacks& callbacks, const Args&... args) {
  std::exception_ptr thrown;
  for (auto& callback : callbacks)
    try {
      callback(args...);
    } catch (...) {
      thrown = std::current_exception();
    }
  if (thrown)
    std::rethrow_exception(thrown);
}

} // namespace baton
