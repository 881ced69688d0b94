#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace baton {

/// A large copy, cut into chunks that may run in any order and at the same time.
class copy_job {
public:
  virtual ~copy_job() = default;
  /// Copies one chunk. Called by a copy thread, several at once.
  virtual void copy(std::size_t chunk) noexcept = 0;
  /// Called once by a copy thread, when no chunk of this job runs or will run any more.
  ///
  /// @param complete whether all chunks were copied.
  virtual void ended(bool complete) noexcept = 0;
};

/// Threads for large copies. Jobs take turns, chunk by chunk, so that none waits for the whole of
/// another. Thread-safe.
class copy_pool {
public:
  /// Starts `threads` threads, at least one.
  explicit copy_pool(std::size_t threads);
  ~copy_pool();

  /// Aborts all jobs, waits for their running chunks and joins. Once.
  void stop();

  /// Queues a job of at least one chunk.
  ///
  /// @returns false, without a call of `ended`, once the pool was stopped.
  [[nodiscard]] bool submit(std::shared_ptr<copy_job> job, std::size_t chunks);

  /// Starts no further chunk of a job; it then ends next, as soon as its running chunks have.
  /// Unknown and ended jobs are ignored.
  void abort(const copy_job& job);

private:
  struct entry {
    std::shared_ptr<copy_job> job;
    std::size_t next = 0;
    std::size_t chunks = 0;
    std::size_t running = 0;
    bool aborted = false;
    bool queued = true;
  };
  using turn = std::shared_ptr<entry>;

  void work();
  void take_turn(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<turn> queue_;
  std::vector<turn> live_; ///< all jobs that have not ended
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

} // namespace baton
