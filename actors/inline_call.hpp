#pragma once

#include <memory>
#include <thread>

namespace baton {

/// Tells whether a callback is called from within the call that it was given to: then its answer
/// needs no message. Copies share one state.
class inline_call {
public:
  /// Called by the callback. Returns whether `leave` was not called yet and this is the thread that
  /// made the call.
  [[nodiscard]] bool inside() const noexcept {
    // `open` belongs to the calling thread; the others stop at the comparison.
    return state_->caller == std::this_thread::get_id() && state_->open;
  }

  /// Called when the call has returned.
  void leave() noexcept { state_->open = false; }

private:
  struct state {
    const std::thread::id caller = std::this_thread::get_id();
    bool open = true;
  };
  std::shared_ptr<state> state_ = std::make_shared<state>();
};

} // namespace baton
