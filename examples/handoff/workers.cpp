#include "examples/handoff/workers.hpp"

namespace baton::handoff {

workers::~workers() {
  {
    const std::lock_guard guard{mutex_};
    stopping_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_)
    thread.join();
}

void workers::run(std::function<void()> task) {
  {
    const std::lock_guard guard{mutex_};
    tasks_.push_back(std::move(task));
    if (idle_ < tasks_.size())
      threads_.emplace_back([this] { work(); });
  }
  wake_.notify_one();
}

std::size_t workers::threads() {
  const std::lock_guard guard{mutex_};
  return threads_.size();
}

void workers::work() {
  std::unique_lock lock{mutex_};
  for (;;) {
    ++idle_;
    wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    --idle_;
    if (tasks_.empty())
      return;
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    lock.lock();
  }
}

} // namespace baton::handoff
