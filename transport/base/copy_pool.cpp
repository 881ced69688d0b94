#include "transport/base/copy_pool.hpp"

#include <algorithm>
#include <utility>

#include "transport/base/guarded_calls.hpp"

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

expected<> copy_pool::submit(std::shared_ptr<copy_job> job, std::size_t chunks) {
  {
    const std::lock_guard lock{mutex_};
    if (auto why = failure_.get())
      return fail(std::move(*why));
    if (stopping_)
      return fail(errc::cancelled, "the rank is shutting down");
    auto added = std::make_shared<entry>();
    added->job = std::move(job);
    added->chunks = chunks;
    live_.push_back(added);
    queue_.push_back(std::move(added));
  }
  // One chunk wakes one thread, many wake all.
  chunks > 1 ? changed_.notify_all() : changed_.notify_one();
  return {};
}

void copy_pool::copy_here(copy_job& job, std::size_t chunks) noexcept {
  expected<> copied;
  if (auto why = failure_.get())
    copied = fail(std::move(*why));
  for (std::size_t chunk = 0; copied && chunk < chunks; ++chunk)
    if (const auto thrown = thrown_by([&] { job.copy(chunk); })) {
      const std::lock_guard lock{mutex_};
      break_down(*thrown);
      copied = fail(why_not_whole());
    }
  if (const auto thrown = thrown_by([&] { job.ended(std::move(copied)); })) {
    const std::lock_guard lock{mutex_};
    break_down(*thrown);
  }
}

void copy_pool::abort(const copy_job& job) {
  {
    const std::lock_guard lock{mutex_};
    const auto found = std::ranges::find(live_, &job, [](const turn& live) {
      return static_cast<const copy_job*>(live->job.get());
    });
    if (found == live_.end())
      return;
    (*found)->aborted = true;
    if ((*found)->queued)
      queue_.splice(queue_.begin(), queue_, std::ranges::find(queue_, *found));
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
  std::list<turn> taken;
  taken.splice(taken.begin(), queue_, queue_.begin());
  const turn mine = taken.front();
  mine->queued = mine->next + 1 < mine->chunks && !mine->aborted;
  if (mine->queued)
    queue_.splice(queue_.end(), taken);
  if (!mine->aborted)
    copy_next(*mine, lock);
  if (mine->running == 0 && !mine->queued && std::erase(live_, mine) != 0)
    end(*mine, lock);
}

void copy_pool::copy_next(entry& mine, std::unique_lock<std::mutex>& lock) {
  const auto chunk = mine.next++;
  ++mine.running;
  lock.unlock();
  const auto thrown = thrown_by([&] { mine.job->copy(chunk); });
  lock.lock();
  --mine.running;
  mine.threw |= thrown.has_value();
  if (thrown)
    break_down(*thrown);
}

void copy_pool::end(entry& mine, std::unique_lock<std::mutex>& lock) {
  const bool whole = mine.next == mine.chunks && !mine.threw;
  auto copied = whole ? expected<>{} : expected<>{fail(why_not_whole())};
  lock.unlock();
  const auto thrown = thrown_by([&] { mine.job->ended(std::move(copied)); });
  lock.lock();
  if (thrown)
    break_down(*thrown);
}

error copy_pool::why_not_whole() const {
  return failure_.get().value_or(error{errc::cancelled, "the copy was cancelled"});
}

void copy_pool::break_down(const std::string& what) {
  failure_.set(
      {errc::transport_failed, fmt::format("a thread that copies threw an exception: {}", what)});
  for (const auto& live : live_)
    live->aborted = true;
}

} // namespace baton
