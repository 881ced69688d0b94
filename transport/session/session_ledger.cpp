#include "transport/session/session_ledger.hpp"

#include <utility>

#include "transport/base/guarded_calls.hpp"

namespace baton {

bool session_ledger::enter(session_key session, std::shared_ptr<abortable> job) {
  const std::lock_guard lock{mutex_};
  if (retired_.contains(session))
    return false;
  auto& entry = sessions_[session];
  ++entry.uses;
  if (job)
    entry.jobs.push_back(std::move(job));
  return true;
}

void session_ledger::leave(session_key session, const abortable* job) {
  std::vector<std::function<void()>> callbacks;
  std::vector<std::shared_ptr<abortable>> dropped; // destroyed outside of the lock
  {
    const std::lock_guard lock{mutex_};
    const auto found = sessions_.find(session);
    auto& entry = found->second;
    for (auto& held : entry.jobs)
      if (job != nullptr && held.get() == job) {
        dropped.push_back(std::move(held));
        held = std::move(entry.jobs.back());
        entry.jobs.pop_back();
        break;
      }
    if (--entry.uses == 0) {
      callbacks = std::move(entry.retiring);
      sessions_.erase(found);
    }
  }
  call_all(callbacks);
}

std::vector<std::shared_ptr<abortable>> session_ledger::retire(session_key session,
                                                               std::function<void()> done) {
  {
    const std::lock_guard lock{mutex_};
    retired_.insert(session);
    const auto found = sessions_.find(session);
    if (found != sessions_.end()) {
      found->second.retiring.push_back(std::move(done));
      return found->second.jobs;
    }
  }
  done();
  return {};
}

} // namespace baton
