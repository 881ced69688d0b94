#include "transport/base/task_queue.hpp"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstring>
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
  for (auto& work : taken)
    work();
  return !taken.empty();
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
