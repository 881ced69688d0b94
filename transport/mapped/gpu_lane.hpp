#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "gpu/copy_engine.hpp"
#include "gpu/event.hpp"
#include "messages/error.hpp"
#include "transport/base/gpu_watch.hpp"
#include "transport/mapped/gpu_peer.hpp"
#include "transport/session/pull_task.hpp"
#include "transport/session/session_ledger.hpp"

namespace baton {

/// The GPU's side of the mapped lane: one data thread that owns the rank's copy engine, launches a
/// kernel for each pull, sees it end, and then looks whether the lease was granted all the while.
/// It also looks after the GPU events for which others wait. Thread-safe; callbacks come from the
/// data thread, which sleeps while nothing is open.
class gpu_lane {
public:
  /// @param ledger, watch must outlive the lane. It is told of the GPU's end.
  /// @returns `out_of_resources` when there is no descriptor left.
  [[nodiscard]] static expected<std::unique_ptr<gpu_lane>> create(session_ledger& ledger,
                                                                  gpu_watch& watch);
  ~gpu_lane();

  /// Ends all pulls and waits as cancelled, waits for the kernels, boundedly, and joins. Once.
  void stop();

  /// Gives it what runs the kernels. Once, before the first pull.
  void install(copy_engine engine);

  /// @param source made for the same GPU as the engine.
  void pull(pull_order order, std::shared_ptr<gpu_peer> source);

  /// See `data_plane::when`.
  void when(session_key owner, gpu_event_ref event, std::function<void(expected<>)> done);

  /// Why this lane moves nothing any more though its GPU may be well: its thread ran into an
  /// exception.
  [[nodiscard]] std::optional<error> failure() const;

private:
  class impl;
  explicit gpu_lane(std::unique_ptr<impl> state);
  std::unique_ptr<impl> impl_;
};

} // namespace baton
