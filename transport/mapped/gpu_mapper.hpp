#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "gpu/copy_engine.hpp"
#include "messages/error.hpp"
#include "transport/mapped/gpu_lane.hpp"
#include "transport/mapped/gpu_peer.hpp"
#include "transport/pool/kernel_pools.hpp"

namespace baton {

/// Makes memory ready for the rank's GPU: starts the copy engine when it is first needed, and our
/// own pools for it, maps the pools of peers and unmaps them. All of this takes milliseconds to
/// seconds, so a thread of its own does it. Thread-safe.
class gpu_mapper {
public:
  /// @param lane, pools must outlive it. The lane gets the engine.
  /// @param options for the engine.
  [[nodiscard]] static expected<std::unique_ptr<gpu_mapper>>
  create(gpu_lane& lane, kernel_pools& pools, const copy_engine_options& options);
  ~gpu_mapper();

  /// Starts the engine within this call. Once, before the first `attach`.
  [[nodiscard]] expected<> open();

  using attached = expected<std::shared_ptr<gpu_peer>>;

  /// Maps the pools of a peer for the GPU, and calls `done` on this thread. The last owner of the
  /// result may let go of it on any thread: it is unmapped here. It must do so before the mapper
  /// ends.
  ///
  /// @param shares, pools of the peer; they fit.
  void attach(std::shared_ptr<peer_memory> memory, std::vector<pool_share> shares,
              std::vector<pool_layout> pools, std::function<void(attached)> done);

  /// Why it maps nothing any more: its thread ran into an exception.
  [[nodiscard]] std::optional<error> failure() const;

  /// Fails what has not begun as cancelled, and joins. Once.
  void stop();

private:
  class impl;
  explicit gpu_mapper(std::unique_ptr<impl> state);
  std::unique_ptr<impl> impl_;
};

} // namespace baton
