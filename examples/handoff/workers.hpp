#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace baton::handoff {

/// Threads for calls that may block: a task never waits for another one to end, since a thread is
/// added whenever none is idle. Thread-safe. Tasks must not throw.
class workers {
public:
  workers() = default;
  workers(const workers&) = delete;
  workers& operator=(const workers&) = delete;
  /// Runs what was queued to its end and joins.
  ~workers();

  void run(std::function<void()> task);
  /// How many threads there are.
  [[nodiscard]] std::size_t threads();

private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool stopping_ = false;
};

} // namespace baton::handoff
