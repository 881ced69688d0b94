#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "gpu/event.hpp"
#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "transport/session/session_ledger.hpp"

namespace baton {

/// Somebody who waits for a GPU event on behalf of a session, which cannot retire meanwhile.
class event_wait final : public abortable, public std::enable_shared_from_this<event_wait> {
public:
  /// Brings an abort to the thread that looks after the events.
  using canceller = std::function<void(std::shared_ptr<event_wait>)>;

  /// @param ledger, cancel must outlive the wait.
  event_wait(session_key session, gpu_event_ref event, std::function<void(expected<>)> done,
             session_ledger& ledger, const canceller& cancel);

  /// Enters the session. If that retires, the wait ends at once, as cancelled.
  ///
  /// @returns whether the wait may go on.
  [[nodiscard]] bool begin();
  /// Tells the caller and leaves the session. Call once after a successful `begin`.
  void finish(expected<> result);

  void abort() noexcept override;
  [[nodiscard]] bool aborted() const noexcept { return aborted_.load(std::memory_order_acquire); }
  [[nodiscard]] gpu_event_ref event() const noexcept { return event_; }

private:
  session_key session_;
  gpu_event_ref event_;
  std::function<void(expected<>)> done_;
  session_ledger& ledger_;
  const canceller& cancel_;
  std::atomic<bool> aborted_{false};
};

/// All who wait for GPU events. Belongs to one thread.
class event_waits {
public:
  /// How many events are looked at in one go, so that thousands do not hold up other work.
  static constexpr std::size_t most_looks = 64;

  using probe = std::function<expected<bool>(gpu_event_ref)>;

  /// @param look tells whether an event is complete.
  explicit event_waits(probe look = is_complete) : look_{std::move(look)} {}

  /// Adds one that has begun. If it was aborted meanwhile it ends at once.
  void add(std::shared_ptr<event_wait> wait);
  /// Ends a wait as cancelled; nothing happens if it has ended.
  void cancel(const event_wait& wait);
  /// Ends all waits.
  void cancel_all(const error& why);

  /// Looks at the next few events and ends the waits for those that are complete or failed.
  ///
  /// @returns whether there was any.
  bool look();

  [[nodiscard]] bool empty() const noexcept { return waits_.empty(); }

private:
  [[nodiscard]] std::shared_ptr<event_wait> take(std::size_t index);

  probe look_;
  std::vector<std::shared_ptr<event_wait>> waits_;
  std::size_t next_ = 0; ///< whose turn it is
};

} // namespace baton
