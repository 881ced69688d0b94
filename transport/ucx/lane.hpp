#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gpu/copy_engine.hpp"
#include "transport/base/copy_pool.hpp"
#include "transport/base/gpu_watch.hpp"
#include "transport/lease/grant_book.hpp"
#include "transport/session/pull_task.hpp"
#include "transport/ucx/staging_ring.hpp"

namespace baton {

/// Settings of the ucx lane; see `plane_options`.
struct ucx_settings {
  std::string transports;  ///< UCX_TLS
  std::string tcp_devices; ///< UCX_NET_DEVICES; empty: left alone
  std::size_t chunk_bytes = 0;
  std::size_t ring_chunks = 0;
  std::size_t credits = 0;
  std::chrono::milliseconds stuck_after{0};
  staging_kind staging = staging_kind::host; ///< anything but `host` only with `ucx_gpu`
};

/// Returns all settings that the lane makes in UCX, by name without "UCX_".
[[nodiscard]] std::vector<std::pair<std::string, std::string>>
context_settings(const ucx_settings& wanted);

/// What the ucx lane needs to move the bytes of its rank's pools by kernels.
struct ucx_gpu {
  copy_engine_options engine;
  std::vector<std::byte*> pools; ///< starts of this rank's pools, for kernels
  gpu_watch* watch = nullptr;    ///< is told of the GPU's end; must outlive the lane
};

/// What the ucx lane works on. The references and the pools must outlive it.
struct ucx_surroundings {
  incarnation life;
  grant_book& grants;
  session_ledger& ledger;
  copy_pool& copies;
  std::vector<std::byte*> pools; ///< starts of this rank's pools
  std::optional<ucx_gpu> gpu{};  ///< if some of them lie on a GPU
};

/// A peer, as the ucx lane must know it.
struct ucx_peer_card {
  incarnation life;
  std::string address;                  ///< of its UCX worker
  std::uint64_t chunk_bytes = 0;        ///< the largest chunk that it stages
  std::shared_ptr<const planner> serve; ///< for its pulls from us; may be null
};

/// Pulls through staging rings and UCX active messages, and serves the pulls of peers from what was
/// granted to them. One data thread owns all of UCX; copy threads or the GPU gather and scatter.
/// Thread-safe; callbacks come from the data thread.
class ucx_lane {
public:
  /// @returns `version_mismatch` for another UCX library than the one built against,
  /// `transport_failed`
  ///          with UCX's own text, `out_of_resources`.
  [[nodiscard]] static expected<std::unique_ptr<ucx_lane>> create(const ucx_settings& settings,
                                                                  ucx_surroundings surroundings);
  ~ucx_lane();

  /// Ends all pulls as cancelled, tells the peers that are being served, and joins. Bounded in
  /// time, also if peers are dead or stopped, or the GPU hangs. Once.
  void stop();

  /// The address of our worker, for manifests.
  [[nodiscard]] const std::string& address() const noexcept;

  void introduce(ucx_peer_card peer);
  void forget(incarnation peer);
  void pull(pull_order order);
  /// Tells that a lease, which a pull may be using, was revoked.
  void revoked(const lease& right);

  /// Why this lane moves nothing any more though its GPU may be well: its thread ran into an
  /// exception.
  [[nodiscard]] std::optional<error> failure() const;

private:
  class impl;
  explicit ucx_lane(std::unique_ptr<impl> state);
  std::unique_ptr<impl> impl_;
};

} // namespace baton
