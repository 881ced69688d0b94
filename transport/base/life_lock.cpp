#include "transport/base/life_lock.hpp"

#include <linux/futex.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <system_error>
#include <thread>

namespace baton {

namespace {

// The kernel marks the word of the C library's mutex itself; that it comes first is part of its
// ABI.
static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0);

/// The thread that holds all life words of this process. It is never destroyed: nothing may end
/// the thread before the process.
class keeper {
public:
  /// The one of this process; a forked child has none of its parent's threads and gets its own.
  static keeper& instance() {
    static std::mutex mutex;
    static keeper* current = nullptr;
    const std::lock_guard lock{mutex};
    if (current == nullptr || current->process_ != getpid())
      current = new keeper;
    return *current;
  }

  /// Runs on the thread, within this call.
  int run(std::function<int()> work) {
    std::packaged_task<int()> task{std::move(work)};
    auto result = task.get_future();
    {
      const std::lock_guard lock{mutex_};
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
    return result.get();
  }

private:
  keeper() : process_{getpid()} {
    std::thread{[this] { hold(); }}.detach();
  }

  [[noreturn]] void hold() {
    // Signals are for the threads of the program.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    std::unique_lock lock{mutex_};
    for (;;) {
      changed_.wait(lock, [this] { return !tasks_.empty(); });
      auto next = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      next();
      lock.lock();
    }
  }

  const pid_t process_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::packaged_task<int()>> tasks_;
};

int make_and_lock(pthread_mutex_t& mutex) {
  pthread_mutexattr_t robust;
  pthread_mutexattr_init(&robust);
  pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
  const int made = pthread_mutex_init(&mutex, &robust);
  pthread_mutexattr_destroy(&robust);
  return made != 0 ? made : pthread_mutex_lock(&mutex);
}

} // namespace

expected<life_lock> life_lock::take(life_word& where) {
  int failed = EAGAIN;
  try {
    failed = keeper::instance().run([&where] { return make_and_lock(where.mutex); });
  } catch (const std::system_error& problem) {
    failed = problem.code().value();
  }
  if (failed != 0)
    return fail(errc::out_of_resources, "cannot lock the word that tells of this process: {}",
                std::strerror(failed));
  return life_lock{where};
}

life_lock::~life_lock() {
  if (where_ != nullptr)
    keeper::instance().run([this] {
      // In a forked child this fails, and the parent's word must be left alone.
      const int failed = pthread_mutex_unlock(&where_->mutex);
      return failed != 0 ? failed : pthread_mutex_destroy(&where_->mutex);
    });
}

bool is_alive(const life_word& word) noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const auto value =
      static_cast<unsigned>(__atomic_load_n(&word.mutex.__data.__lock, __ATOMIC_SEQ_CST));
  return (value & FUTEX_TID_MASK) != 0 && (value & FUTEX_OWNER_DIED) == 0;
}

} // namespace baton
