#pragma once

#include <functional>
#include <list>
#include <memory>
#include <stop_token>
#include <thread>

#include "messages/error.hpp"
#include "transport/export_server.hpp"
#include "transport/peer_memory.hpp"
#include "transport/task_queue.hpp"

namespace baton {

/// The thread that exports our memory to peers and maps and unmaps theirs, so that neither callers
/// nor the data thread ever wait for it. It sleeps when there is nothing to do. Thread-safe.
class service_thread {
public:
  using imported = expected<std::shared_ptr<const peer_memory>>;

  /// @param server its exports.
  [[nodiscard]] static expected<std::unique_ptr<service_thread>> start(export_server server);
  ~service_thread();

  /// Fails the imports under way and all later ones as cancelled, and joins. Once.
  void stop();

  /// Maps a peer's memory within two seconds and calls `done` on this thread. The last owner of the
  /// memory may let go of it on any thread: it is unmapped here.
  void import(plane_manifest manifest, std::vector<pool_layout> pools,
              std::function<void(imported)> done);

private:
  struct pending {
    peer_import import;
    std::function<void(imported)> done;
  };

  service_thread(export_server server, std::shared_ptr<task_queue> tasks);
  void run(const std::stop_token& stop);
  void wait();
  void advance_imports();
  [[nodiscard]] imported share(expected<std::unique_ptr<peer_memory>> memory) const;

  export_server server_;
  std::shared_ptr<task_queue> tasks_;
  std::list<pending> imports_; ///< touched by the thread only
  std::jthread thread_;
};

} // namespace baton
