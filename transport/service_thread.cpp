#include "transport/service_thread.hpp"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

namespace baton {

namespace {

constexpr std::chrono::seconds import_limit{2};

tl::unexpected<error> stopped() {
  return fail(errc::cancelled, "the rank is shutting down");
}

} // namespace

expected<std::unique_ptr<service_thread>> service_thread::start(export_server server) {
  auto tasks = task_queue::create();
  if (!tasks)
    return fail(std::move(tasks.error()));
  return std::unique_ptr<service_thread>{
      new service_thread{std::move(server), std::shared_ptr{std::move(*tasks)}}};
}

service_thread::service_thread(export_server server, std::shared_ptr<task_queue> tasks)
    : server_{std::move(server)},
      tasks_{std::move(tasks)},
      thread_{[this](const std::stop_token& stop) { run(stop); }} {
}

service_thread::~service_thread() {
  stop();
}

void service_thread::stop() {
  if (!thread_.joinable())
    return;
  thread_.request_stop();
  tasks_->post([] {});
  thread_.join();
}

void service_thread::import(plane_manifest manifest, std::vector<pool_layout> pools,
                            std::function<void(imported)> done) {
  const auto begin = [this, manifest = std::move(manifest), pools = std::move(pools), done] {
    auto started = peer_import::start(manifest, pools, peer_import::clock::now() + import_limit);
    if (!started)
      return done(fail(std::move(started.error())));
    imports_.push_back({std::move(*started), done});
  };
  if (!tasks_->post(begin))
    done(stopped());
}

void service_thread::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    if (tasks_->run())
      continue;
    if (tasks_->before_sleep()) {
      wait();
      tasks_->after_sleep();
    }
    server_.serve();
    advance_imports();
  }
  tasks_->close();
  for (auto& item : imports_)
    item.done(stopped());
  imports_.clear();
}

void service_thread::wait() {
  std::vector<pollfd> watched{{tasks_->descriptor(), POLLIN, 0}, {server_.descriptor(), POLLIN, 0}};
  auto nearest = peer_import::clock::time_point::max();
  for (const auto& item : imports_) {
    watched.push_back({item.import.descriptor(), POLLIN, 0});
    nearest = std::min(nearest, item.import.deadline());
  }
  int timeout = -1;
  if (!imports_.empty()) {
    const auto left = nearest - peer_import::clock::now();
    timeout = static_cast<int>(
        std::max<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(left).count(), 0));
  }
  poll(watched.data(), watched.size(), timeout);
}

void service_thread::advance_imports() {
  for (auto item = imports_.begin(); item != imports_.end();) {
    auto result = item->import.advance();
    if (!result) {
      ++item;
      continue;
    }
    auto done = std::move(item->done);
    item = imports_.erase(item);
    done(share(std::move(*result)));
  }
}

service_thread::imported
service_thread::share(expected<std::unique_ptr<peer_memory>> memory) const {
  if (!memory)
    return fail(std::move(memory.error()));
  return std::shared_ptr<const peer_memory>{memory->release(),
                                            [tasks = tasks_](const peer_memory* old) {
                                              if (!tasks->post([old] { delete old; }))
                                                delete old;
                                            }};
}

} // namespace baton
