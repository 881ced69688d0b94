#include "transport/base/copy_pool.hpp"

#include <algorithm>
#include <utility>

namespace baton {

copy_pool::copy_pool(std::size_t threads) {
  for (std::size_t i = 0; i < std::max<std::size_t>(threads, 1); ++i)
    threads_.emplace_back([this] { work(); });
}

copy_pool::~copy_pool() {
  stop();
}

void copy_pool::stop() {
  {
    const std::lock_guard lock{mutex_};
    stopping_ = true;
    for (const auto& live : live_)
      live->aborted = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_)
    thread.join();
  threads_.clear();
}

bool copy_pool::submit(std::shared_ptr<copy_job> job, std::size_t chunks) {
  {
    const std::lock_guard lock{mutex_};
    if (stopping_)
      return false;
    auto added = std::make_shared<entry>();
    added->job = std::move(job);
    added->chunks = chunks;
    live_.push_back(added);
    queue_.push_back(std::move(added));
  }
  // One chunk wakes one thread, many wake all.
  chunks > 1 ? changed_.notify_all() : changed_.notify_one();
  return true;
}

void copy_pool::abort(const copy_job& job) {
  {
    const std::lock_guard lock{mutex_};
    const auto found = std::find_if(live_.begin(), live_.end(),
                                    [&](const turn& live) { return live->job.get() == &job; });
    if (found == live_.end())
      return;
    (*found)->aborted = true;
    if ((*found)->queued) {
      std::erase(queue_, *found);
      queue_.push_front(*found);
    }
  }
  changed_.notify_one();
}

void copy_pool::work() {
  std::unique_lock lock{mutex_};
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty())
      return;
    take_turn(lock);
  }
}

void copy_pool::take_turn(std::unique_lock<std::mutex>& lock) {
  const turn mine = std::move(queue_.front());
  queue_.pop_front();
  mine->queued = false;
  if (!mine->aborted) {
    const auto chunk = mine->next++;
    ++mine->running;
    if (mine->next < mine->chunks) {
      mine->queued = true;
      queue_.push_back(mine);
    }
    lock.unlock();
    mine->job->copy(chunk);
    lock.lock();
    --mine->running;
  }
  if (mine->running > 0 || mine->queued)
    return;
  const bool complete = mine->next == mine->chunks;
  if (std::erase(live_, mine) == 0)
    return;
  lock.unlock();
  mine->job->ended(complete);
  lock.lock();
}

} // namespace baton
