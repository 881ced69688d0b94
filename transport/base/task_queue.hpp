#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "messages/error.hpp"
#include "transport/base/unique_fd.hpp"

namespace baton {

/// Work that any thread hands to one consumer thread, which may sleep on a descriptor meanwhile.
/// `post` is thread-safe, all else belongs to the consumer.
class task_queue {
public:
  using task = std::function<void()>;

  /// @returns `out_of_resources` when there is no descriptor left.
  [[nodiscard]] static expected<std::unique_ptr<task_queue>> create();

  /// Queues a task. Once `close` was called it is refused.
  ///
  /// @returns whether it will run.
  bool post(task work);

  /// Runs what is queued, in order; tasks posted meanwhile wait for the next call. If one throws,
  /// so does this; the others stay queued.
  ///
  /// @returns whether there was any.
  bool run();

  /// Readable when a task was posted since `before_sleep`.
  [[nodiscard]] int descriptor() const noexcept { return event_.get(); }

  /// Call before sleeping on the descriptor. Do not sleep if it returns false: there are tasks.
  [[nodiscard]] bool before_sleep();
  /// Call after having slept.
  void after_sleep() noexcept;

  /// Runs what is left and refuses what comes.
  void close();

private:
  void put_back(std::vector<task> rest);
  explicit task_queue(unique_fd event) : event_{std::move(event)} {}

  unique_fd event_;
  std::mutex mutex_;
  std::vector<task> tasks_;      ///< guarded
  bool asleep_ = false;          ///< guarded
  bool closed_ = false;          ///< guarded
  std::atomic<bool> any_{false}; ///< spares the consumer the lock when there is nothing
};

} // namespace baton
