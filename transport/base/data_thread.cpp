#include "transport/base/data_thread.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

#include "transport/base/guarded_calls.hpp"

namespace baton {

namespace {

using clock = std::chrono::steady_clock;

/// Calls for nothing that are put up with. UCX makes some; over tcp it calls without end while a
/// peer that is stopped has not answered a connection.
constexpr unsigned most_idle_calls = 16;
/// Which part of the time for which nothing has happened it may not listen.
constexpr int deaf_part = 8;

/// Returns whether `action` returned; if it threw, the source knows.
template <class Action>
bool guarded(progress_source& source, Action action) noexcept {
  const auto thrown = thrown_by(action);
  if (thrown)
    source.failed(*thrown);
  return !thrown;
}

} // namespace

void progress_source::failed(const std::string&) noexcept {
  std::terminate();
}

expected<std::unique_ptr<data_thread>> data_thread::start(progress_source& source) {
  auto tasks = task_queue::create();
  if (!tasks)
    return fail(std::move(tasks.error()));
  return std::unique_ptr<data_thread>{new data_thread{source, std::move(*tasks)}};
}

data_thread::data_thread(progress_source& source, std::unique_ptr<task_queue> tasks)
    : source_{source}, tasks_{std::move(tasks)}, thread_{[this](const std::stop_token& stop) {
        run(stop);
      }} {
}

data_thread::~data_thread() {
  stop();
}

void data_thread::stop() {
  if (!thread_.joinable())
    return;
  thread_.request_stop();
  tasks_->post([] {});
  thread_.join();
  while (!guarded(source_, [this] { tasks_->close(); })) {
  }
}

void data_thread::run(const std::stop_token& stop) {
  auto last = clock::now();
  while (!stop.stop_requested()) {
    if (work()) {
      last = clock::now();
      idle_calls_ = 0;
      continue;
    }
    if (const auto idle = clock::now() - last; idle >= alert)
      sleep(std::chrono::duration_cast<std::chrono::microseconds>(idle));
  }
}

bool data_thread::work() {
  bool ran = false;
  bool moved = false;
  const bool whole = guarded(source_, [&] {
    ran = tasks_->run();
    moved = source_.progress();
  });
  // What a failure leaves to be done is done before it sleeps.
  return ran || moved || !whole;
}

void data_thread::sleep(std::chrono::microseconds idle) {
  const bool deaf = idle_calls_ == most_idle_calls;
  if (!source_.arm() && !deaf) {
    ++idle_calls_;
    return;
  }
  if (!tasks_->before_sleep())
    return;
  auto nap = source_.nap(idle);
  if (deaf)
    nap = std::min({nap.value_or(most_deaf), most_deaf, idle / deaf_part});
  const auto begin = clock::now();
  const bool called = doze(deaf ? -1 : source_.descriptor(), nap);
  tasks_->after_sleep();
  // After a while of deafness one call is enough to be deaf again. Calls that are far apart are
  // those of a source that is merely idle.
  if (deaf)
    --idle_calls_;
  else
    idle_calls_ = called && clock::now() - begin < most_deaf ? idle_calls_ + 1 : 0;
}

/// Returns whether the source called.
bool data_thread::doze(int descriptor, std::optional<std::chrono::microseconds> limit) const {
  std::array<pollfd, 2> watched{{{descriptor, POLLIN, 0}, {tasks_->descriptor(), POLLIN, 0}}};
  timespec time{};
  if (limit)
    time = {limit->count() / 1'000'000, limit->count() % 1'000'000 * 1'000};
  ppoll(watched.data(), watched.size(), limit ? &time : nullptr, nullptr);
  return watched.front().revents != 0;
}

} // namespace baton
