#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "messages/error.hpp"
#include "transport/base/failure_note.hpp"
#include "transport/base/task_queue.hpp"
#include "transport/peer/export_server.hpp"
#include "transport/peer/peer_memory.hpp"

namespace baton {

/// The thread that exports our memory to peers and maps and unmaps theirs, so that neither callers
/// nor the data thread ever wait for it. It does one small thing after the other, so that peers are
/// answered soon even while large pools are warmed or unmapped, and sleeps when there is nothing to
/// do. Thread-safe.
class service_thread {
public:
  /// How long those who ask wait after the process had no descriptor left for them.
  static constexpr std::chrono::milliseconds accept_pause{100};

  using imported = expected<std::shared_ptr<peer_memory>>;

  /// @param server its exports.
  [[nodiscard]] static expected<std::unique_ptr<service_thread>> start(export_server server);
  ~service_thread();

  /// Fails the imports under way and all later ones as cancelled, and joins. Once.
  void stop();

  /// Maps a peer's memory within two seconds and calls `done` on this thread; its pages are warmed
  /// after that. The last owner of the memory may let go of it on any thread: it is unmapped here.
  void import(plane_manifest manifest, std::vector<pool_layout> pools,
              std::function<void(imported)> done);

  /// Why it maps nothing any more: it ran into an exception, of a callback say. What was exported
  /// stays so.
  [[nodiscard]] std::optional<error> failure() const { return failure_.get(); }

private:
  using clock = peer_import::clock;
  /// Does a step and returns whether there is more to do.
  using chore = std::function<bool()>;

  struct pending {
    peer_import import;
    std::function<void(imported)> done;
  };

  service_thread(export_server server, std::shared_ptr<task_queue> tasks);
  void run(const std::stop_token& stop);
  void note(const std::optional<std::string>& thrown);
  void take_turn();
  void end_imports();
  void wait();
  void serve();
  void advance_imports();
  void do_a_chore();
  [[nodiscard]] imported share(expected<std::unique_ptr<peer_memory>> memory);

  export_server server_;
  failure_note failure_;
  std::shared_ptr<task_queue> tasks_;
  // -- touched by the thread only
  std::list<pending> imports_;
  std::deque<chore> chores_;   ///< they take turns
  clock::time_point serve_at_; ///< nobody is let in before
  std::jthread thread_;
};

} // namespace baton
