#include "transport/peer/service_thread.hpp"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "transport/base/guarded_calls.hpp"

namespace baton {

namespace {

constexpr std::chrono::seconds import_limit{2};

tl::unexpected<error> stopped() {
  return fail(errc::cancelled, "the rank is shutting down");
}

/// As poll takes it.
int milliseconds_until(peer_import::clock::time_point when, peer_import::clock::time_point now) {
  if (when == peer_import::clock::time_point::max())
    return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(when - now).count();
  return static_cast<int>(std::max<std::int64_t>(left, 0));
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
    std::optional<expected<peer_import>> started;
    note(thrown_by(
        [&] { started = peer_import::start(manifest, pools, clock::now() + import_limit); }));
    if (!started)
      return done(fail(*failure_.get()));
    if (!*started)
      return done(fail(std::move(started->error())));
    imports_.push_back({std::move(**started), done});
  };
  if (auto why = failure_.get())
    done(fail(std::move(*why)));
  else if (!tasks_->post(begin))
    done(stopped());
}

void service_thread::run(const std::stop_token& stop) {
  while (!stop.stop_requested())
    note(thrown_by([this] { take_turn(); }));
  run_to_end([this] { tasks_->close(); });
  run_to_end([this] { end_imports(); });
  chores_.clear();
}

void service_thread::note(const std::optional<std::string>& thrown) {
  if (thrown)
    failure_.set({errc::transport_failed,
                  fmt::format("the thread that maps peers threw an exception: {}", *thrown)});
}

void service_thread::take_turn() {
  if (tasks_->run())
    return;
  if (tasks_->before_sleep()) {
    wait();
    tasks_->after_sleep();
  }
  serve();
  advance_imports();
  do_a_chore();
}

void service_thread::end_imports() {
  while (!imports_.empty()) {
    const auto done = std::move(imports_.front().done);
    imports_.pop_front();
    done(stopped());
  }
}

void service_thread::wait() {
  const auto now = clock::now();
  const bool open = now >= serve_at_;
  auto nearest = open ? clock::time_point::max() : serve_at_;
  std::vector<pollfd> watched{{tasks_->descriptor(), POLLIN, 0},
                              {open ? server_.descriptor() : -1, POLLIN, 0}};
  for (const auto& item : imports_) {
    watched.push_back({item.import.descriptor(), POLLIN, 0});
    nearest = std::min(nearest, item.import.wake());
  }
  if (!chores_.empty())
    nearest = now;
  poll(watched.data(), watched.size(), milliseconds_until(nearest, now));
}

void service_thread::serve() {
  if (const auto now = clock::now(); now >= serve_at_ && !server_.serve())
    serve_at_ = now + accept_pause;
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

void service_thread::do_a_chore() {
  if (chores_.empty())
    return;
  auto next = std::move(chores_.front());
  chores_.pop_front();
  if (next())
    chores_.push_back(std::move(next));
}

service_thread::imported service_thread::share(expected<std::unique_ptr<peer_memory>> memory) {
  if (!memory)
    return fail(std::move(memory.error()));
  // What comes after the end of this thread finds the queue closed, and does it alone.
  const auto let_go = [this, tasks = tasks_](peer_memory* old) {
    std::shared_ptr<peer_memory> owned{old};
    tasks->post([this, owned] { chores_.push_back([owned] { return owned->unmap(); }); });
  };
  const std::shared_ptr<peer_memory> shared{memory->release(), let_go};
  chores_.push_back([weak = std::weak_ptr{shared}, offset = std::uint64_t{0}]() mutable {
    const auto held = weak.lock();
    const auto next = held ? held->warm(offset) : std::nullopt;
    offset = next.value_or(offset);
    return next.has_value();
  });
  return shared;
}

} // namespace baton
