#include "transport/base/task_queue.hpp"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <memory>
#include <utility>

namespace baton {

expected<std::unique_ptr<task_queue>> task_queue::create() {
  unique_fd event{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!event)
    return fail(errc::out_of_resources, "eventfd failed: {}", std::strerror(errno));
  return std::unique_ptr<task_queue>{new task_queue{std::move(event)}};
}

bool task_queue::post(task work) {
  bool wake = false;
  {
    const std::lock_guard lock{mutex_};
    if (closed_)
      return false;
    tasks_.push_back(std::move(work));
    any_.store(true, std::memory_order_release);
    wake = std::exchange(asleep_, false);
  }
  if (wake)
    eventfd_write(event_.get(), 1);
  return true;
}

bool task_queue::run() {
  if (!any_.load(std::memory_order_acquire))
    return false;
  std::vector<task> taken;
  {
    const std::lock_guard lock{mutex_};
    taken.swap(tasks_);
    any_.store(false, std::memory_order_relaxed);
  }
  for (auto work = taken.begin(); work != taken.end(); ++work)
    try {
      (*work)();
    } catch (...) {
      put_back({std::make_move_iterator(work + 1), std::make_move_iterator(taken.end())});
      throw;
    }
  return !taken.empty();
}

void task_queue::put_back(std::vector<task> rest) {
  const std::lock_guard lock{mutex_};
  std::ranges::move(tasks_, std::back_inserter(rest));
  tasks_ = std::move(rest);
  any_.store(!tasks_.empty(), std::memory_order_release);
}

bool task_queue::before_sleep() {
  const std::lock_guard lock{mutex_};
  asleep_ = tasks_.empty();
  return asleep_;
}

void task_queue::after_sleep() noexcept {
  eventfd_t count = 0;
  eventfd_read(event_.get(), &count);
  const std::lock_guard lock{mutex_};
  asleep_ = false;
}

void task_queue::close() {
  for (;;) {
    {
      const std::lock_guard lock{mutex_};
      if (tasks_.empty()) {
        closed_ = true;
        return;
      }
    }
    run();
  }
}

} // namespace baton
