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
    if (clock::now() - last >= alert)
      sleep();
  }
}

void data_thread::sleep() {
  if (!source_.arm() || !tasks_->before_sleep())
    return;
  std::array<pollfd, 2> watched{
      {{source_.descriptor(), POLLIN, 0}, {tasks_->descriptor(), POLLIN, 0}}};
  poll(watched.data(), watched.size(), -1);
  tasks_->after_sleep();
}

} // namespace baton
