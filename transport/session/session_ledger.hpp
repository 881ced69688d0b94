#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "messages/ids.hpp"
#include "transport/session/retired_keys.hpp"

namespace baton {

/// Something that can be asked to end early.
class abortable {
public:
  virtual ~abortable() = default;
  /// Asks for the end, which comes later, on a thread of the data plane. Thread-safe.
  virtual void abort() noexcept = 0;
};

/// Counts who touches the blocks of each session, so that its owner can be told when nobody does
/// any more. A session that retired stays so: its key lets nobody in again. Thread-safe. Callbacks
/// run outside of the lock.
class session_ledger {
public:
  /// Enters a use of the session's blocks, to be ended by `leave`.
  ///
  /// @param job to be aborted when the session retires; may be null.
  /// @returns false if the session is retiring or has retired: then its blocks must not be touched.
  [[nodiscard]] bool enter(session_key session, std::shared_ptr<abortable> job = nullptr);

  /// Ends a use. If it was the last one of a retiring session, the session's callbacks run within
  /// the call.
  void leave(session_key session, const abortable* job = nullptr);

  /// Lets nobody enter any more, and calls `done` when all have left: within this call if nobody is
  /// in.
  ///
  /// @returns the jobs to abort.
  [[nodiscard]] std::vector<std::shared_ptr<abortable>> retire(session_key session,
                                                               std::function<void()> done);

private:
  struct entry {
    std::size_t uses = 0;
    std::vector<std::shared_ptr<abortable>> jobs;
    std::vector<std::function<void()>> retiring;
  };

  std::mutex mutex_;
  std::unordered_map<session_key, entry> sessions_; ///< those with uses
  retired_keys retired_;
};

/// Leaves a session after an action, also if that throws.
template <class Action>
void leave_after(session_ledger& ledger, session_key session, const abortable* job,
                 Action&& action) {
  try {
    action();
  } catch (...) {
    ledger.leave(session, job);
    throw;
  }
  ledger.leave(session, job);
}

} // namespace baton
