#include "transport/data_thread.hpp"

#include <poll.h>

#include <array>
#include <utility>

namespace baton {

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
  tasks_->close();
}

void data_thread::run(const std::stop_token& stop) {
  using clock = std::chrono::steady_clock;
  auto last = clock::now();
  while (!stop.stop_requested()) {
    const bool ran = tasks_->run();
    const bool moved = source_.progress();
    if (ran || moved) {
      last = clock::now();
      continue;
    }
    if (const auto idle = clock::now() - last; idle >= alert)
      sleep(std::chrono::duration_cast<std::chrono::microseconds>(idle));
  }
}

void data_thread::sleep(std::chrono::microseconds idle) {
  if (!source_.arm() || !tasks_->before_sleep())
    return;
  std::array<pollfd, 2> watched{
      {{source_.descriptor(), POLLIN, 0}, {tasks_->descriptor(), POLLIN, 0}}};
  timespec limit{};
  const auto nap = source_.nap(idle);
  if (nap)
    limit = {nap->count() / 1'000'000, nap->count() % 1'000'000 * 1'000};
  ppoll(watched.data(), watched.size(), nap ? &limit : nullptr, nullptr);
  tasks_->after_sleep();
}

} // namespace baton
