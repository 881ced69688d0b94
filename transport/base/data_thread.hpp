#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "messages/error.hpp"
#include "transport/base/task_queue.hpp"

namespace baton {

/// Something that has to be driven by one thread, and that can be slept on.
class progress_source {
public:
  virtual ~progress_source() = default;
  /// Does what can be done now without waiting.
  ///
  /// @returns whether that was anything.
  virtual bool progress() = 0;
  /// `progress`, or a task, has thrown. Called on the thread, which goes on after it: the source
  /// ends what is under way with an error, and begins nothing any more. A source that cannot do
  /// that ends the process.
  virtual void failed(const std::string& what) noexcept;
  /// Readable when there is something to do, after `arm` returned true; -1 for none.
  [[nodiscard]] virtual int descriptor() const noexcept = 0;
  [[nodiscard]] virtual bool arm() noexcept = 0;
  /// How long the thread may sleep before it looks again although nothing woke it, for what cannot
  /// make a descriptor readable; nothing if it need not.
  ///
  /// @param idle for how long nothing has happened.
  [[nodiscard]] virtual std::optional<std::chrono::microseconds>
  nap(std::chrono::microseconds idle) const noexcept {
    static_cast<void>(idle);
    return std::nullopt;
  }
};

/// A thread that drives one source and runs the tasks that others post. It stays awake for a moment
/// after the last thing happened, and sleeps then. A source that keeps waking it for nothing is
/// only looked at now and then, until something happens.
class data_thread {
public:
  /// How long it stays awake.
  static constexpr std::chrono::microseconds alert{50};
  /// How long at most it does not listen to a source that woke it for nothing.
  static constexpr std::chrono::microseconds most_deaf{5'000};

  /// @param source must outlive the thread.
  /// @returns `out_of_resources` when there is no descriptor left.
  [[nodiscard]] static expected<std::unique_ptr<data_thread>> start(progress_source& source);
  ~data_thread();

  /// Runs a task on the thread. Thread-safe.
  ///
  /// @returns false, without running it, once `stop` was called.
  bool post(task_queue::task work) { return tasks_->post(std::move(work)); }

  /// Ends the thread. Tasks that were posted are run, at the latest on the calling thread. Once.
  void stop();

private:
  data_thread(progress_source& source, std::unique_ptr<task_queue> tasks);
  void run(const std::stop_token& stop);
  /// Runs what was posted and what the source has to do. @returns whether there was anything.
  [[nodiscard]] bool work();
  void sleep(std::chrono::microseconds idle);
  [[nodiscard]] bool doze(int descriptor, std::optional<std::chrono::microseconds> limit) const;

  progress_source& source_;
  std::unique_ptr<task_queue> tasks_;
  unsigned idle_calls_ = 0; ///< of the source in a row, for nothing
  std::jthread thread_;
};

} // namespace baton
