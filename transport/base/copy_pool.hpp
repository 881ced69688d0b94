#pragma once

#include <condition_variable>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "messages/error.hpp"
#include "transport/base/failure_note.hpp"

namespace baton {

/// A large copy, cut into chunks that may run in any order and at the same time.
class copy_job {
public:
  virtual ~copy_job() = default;
  /// Copies one chunk. Called by a copy thread, several at once.
  virtual void copy(std::size_t chunk) = 0;
  /// Called once by a copy thread, when no chunk of this job runs or will run any more.
  ///
  /// @param copied success if all chunks were copied, `cancelled` after an abort, the pool's
  ///        failure after that.
  virtual void ended(expected<> copied) = 0;
};

/// Threads for large copies. Jobs take turns, chunk by chunk, so that none waits for the whole of
/// another. Should a job throw, in either of its functions, then the pool has failed for good: all
/// jobs end with that error, and no more are taken. Thread-safe.
class copy_pool {
public:
  /// Starts `threads` threads, at least one.
  explicit copy_pool(std::size_t threads);
  ~copy_pool();

  /// Aborts all jobs, waits for their running chunks and joins. Once.
  void stop();

  /// Queues a job of at least one chunk.
  ///
  /// @returns why it does not, without a call of `ended`: `cancelled` once the pool was stopped,
  ///          else its failure.
  [[nodiscard]] expected<> submit(std::shared_ptr<copy_job> job, std::size_t chunks);

  /// Copies a small job on the calling thread, and ends it.
  void copy_here(copy_job& job, std::size_t chunks) noexcept;

  /// Starts no further chunk of a job; it then ends next, as soon as its running chunks have.
  /// Unknown and ended jobs are ignored.
  void abort(const copy_job& job);

  /// What a job has thrown.
  [[nodiscard]] std::optional<error> failure() const { return failure_.get(); }

private:
  struct entry {
    std::shared_ptr<copy_job> job;
    std::size_t next = 0;
    std::size_t chunks = 0;
    std::size_t running = 0;
    bool aborted = false;
    bool threw = false;
    bool queued = true;
  };
  using turn = std::shared_ptr<entry>;

  void work();
  void take_turn(std::unique_lock<std::mutex>& lock);
  void copy_next(entry& mine, std::unique_lock<std::mutex>& lock);
  void end(entry& mine, std::unique_lock<std::mutex>& lock);
  [[nodiscard]] error why_not_whole() const;
  void break_down(const std::string& what);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<turn> queue_;  ///< so that to queue again takes no memory
  std::vector<turn> live_; ///< all jobs that have not ended
  bool stopping_ = false;
  failure_note failure_;
  std::vector<std::thread> threads_;
};

} // namespace baton
