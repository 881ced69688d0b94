#include "transport/session/pull_task.hpp"

#include <utility>

namespace baton {

pull_task::pull_task(pull_order order, session_ledger& ledger)
    : order_{std::move(order)}, stream_{std::move(order_.what)}, ledger_{ledger} {
}

bool pull_task::begin(const std::shared_ptr<pull_task>& self) {
  if (ledger_.enter(order_.session, self))
    return true;
  refuse({errc::cancelled, "the session has retired"});
  return false;
}

void pull_task::finish(expected<> result) {
  // Also when the caller's callback throws, although it must not.
  leave_after(ledger_, order_.session, this, [&] {
    const auto done = std::exchange(order_.done, nullptr);
    result ? done(stats()) : done(fail(std::move(result.error())));
  });
}

pull_stats pull_task::stats() const {
  pull_stats stats;
  stats.bytes = stream_.bytes();
  stats.fragments = stream_.what().fragments;
  stats.templates = static_cast<std::uint32_t>(stream_.what().parts.size());
  stats.lane = order_.lane;
  stats.pulling = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - order_.started);
  return stats;
}

void pull_task::refuse(error why) {
  std::exchange(order_.done, nullptr)(fail(std::move(why)));
}

void pull_task::abort() noexcept {
  aborted_.store(true, std::memory_order_release);
  wake();
}

} // namespace baton
