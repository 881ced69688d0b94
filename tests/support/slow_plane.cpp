#include "tests/support/slow_plane.hpp"

#include <utility>

namespace baton::test {

using clock = std::chrono::steady_clock;

slow_plane::slow_plane(std::shared_ptr<data_plane> real, std::chrono::milliseconds pause)
    : real_{std::move(real)}, pause_{pause}, thread_{[this](const std::stop_token& stop) {
        run(stop);
      }} {
}

void slow_plane::pull(session_key owner, pull_job job,
                      std::function<void(expected<pull_stats>)> done) {
  const std::lock_guard lock{mutex_};
  held_.push_back({clock::now() + pause_, owner, std::move(job), std::move(done)});
  changed_.notify_one();
}

void slow_plane::retire(session_key owner, std::function<void()> done) {
  std::list<held_pull> cancelled;
  {
    const std::lock_guard lock{mutex_};
    for (auto pull = held_.begin(); pull != held_.end();) {
      const auto next = std::next(pull);
      if (pull->owner == owner)
        cancelled.splice(cancelled.end(), held_, pull);
      pull = next;
    }
  }
  for (auto& pull : cancelled)
    pull.done(fail(errc::cancelled, "the session was retired"));
  real_->retire(owner, std::move(done));
}

void slow_plane::run(const std::stop_token& stop) {
  std::unique_lock lock{mutex_};
  while (!stop.stop_requested()) {
    if (held_.empty()) {
      changed_.wait(lock, stop, [this] { return !held_.empty(); });
      continue;
    }
    if (const auto due = held_.front().due; clock::now() < due) {
      changed_.wait_until(lock, stop, due, [] { return false; });
      continue;
    }
    auto pull = std::move(held_.front());
    held_.pop_front();
    lock.unlock();
    real_->pull(pull.owner, std::move(pull.job), std::move(pull.done));
    lock.lock();
  }
  lock.unlock();
  for (auto& pull : held_)
    pull.done(fail(errc::cancelled, "the rank is shutting down"));
}

} // namespace baton::test
