#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "transport/pool/memory_pool.hpp"
#include "transport/pool/pool.hpp"
#include "transport/seam/data_plane.hpp"

namespace baton {

/// Settings of a rank's data plane.
struct plane_options {
  lane_policy lanes = lane_policy::automatic;
  std::size_t leases = 65'536;
  /// Threads for large host copies of the mapped lane.
  std::size_t copy_threads = 2;
  /// Thread blocks of one pull on the GPU, 1 to 1024: each takes one multiprocessor while it runs.
  std::uint32_t gpu_blocks = 16;
  /// Pulls that may run on the GPU at a time, 1 to 16.
  std::uint32_t gpu_streams = 2;
  /// Which GPU a rank whose own pools are all host memory uses to pull from those of GPUs: an
  /// ordinal. A rank with GPU pools uses theirs.
  int gpu = 0;
  /// Staging of the ucx lane, in each direction: chunks and bytes per chunk. Between GPUs of one
  /// host chunks of 8 MiB are better: UCX takes several microseconds for each.
  std::size_t chunk_bytes = 512 * 1024;
  std::size_t ring_chunks = 32;
  /// Chunks that one pull may have on its way.
  std::size_t credits = 8;
  /// How long a peer may leave chunks of ours on the ucx lane lying, before it is taken for stuck,
  /// its link is closed and what is under way with it ends as `peer_lost`. A peer that we wait for
  /// gets twice as long. At least 100 ms, and longer than the network takes for a chunk.
  std::chrono::milliseconds ucx_stuck_after{2000};
  /// Network devices over which UCX may use tcp, e.g. "lo" or "eth0". Empty: no tcp at all,
  /// shared-memory transports only, and cuda_ipc for GPU pools. UCX over tcp trusts its network,
  /// see the README.
  std::string tcp_devices{};
  /// UCX_TLS as such; empty: chosen from the above.
  std::string ucx_transports{};
};

/// Returns what a plane with these options sets in UCX: names without "UCX_", and values. To
/// measure UCX alone under the same conditions.
[[nodiscard]] std::vector<std::pair<std::string, std::string>>
ucx_settings_of(const plane_options& options);

/// The data plane of a real rank: exports its pools and its lease table to the same user on the
/// same host, maps those of its peers, and runs the mapped and the ucx lane. Pools are host memory,
/// or memory of one GPU.
///
/// Threads: one data thread owns the UCX worker, another one the GPU; copy threads move large host
/// copies; one service thread exports descriptors and maps peers, and one makes memory ready for
/// the GPU. What a callback throws on any of them breaks the plane, see `broken`, and so does a GPU
/// on which nothing works any more. The destructor cancels everything and joins them, so it must
/// not run within a callback.
class rank_plane final : public data_plane {
public:
  /// @param life   this rank's incarnation, random.
  /// @param layout of this rank; `pools[i]` must be at least as large as `layout.pools[i]`, of the
  ///        same kind, and on the GPU that it names.
  /// @returns `invalid_argument` for pools that do not fit the layout or lie on several GPUs,
  /// `gpu_failed` if there are GPU pools and the GPU cannot be used, `out_of_resources`,
  /// `transport_failed`
  ///          with UCX's own text, `version_mismatch` when the UCX library is not the one built
  ///          against.
  [[nodiscard]] static expected<std::shared_ptr<rank_plane>> create(incarnation life,
                                                                    const rank_layout& layout,
                                                                    std::vector<memory_pool> pools,
                                                                    plane_options options = {});
  /// The same, when all pools are host memory.
  [[nodiscard]] static expected<std::shared_ptr<rank_plane>> create(incarnation life,
                                                                    const rank_layout& layout,
                                                                    std::vector<host_pool> pools,
                                                                    plane_options options = {});

  ~rank_plane() override;
  rank_plane(const rank_plane&) = delete;
  rank_plane& operator=(const rank_plane&) = delete;

  [[nodiscard]] const memory_pool& pool(std::size_t index) const noexcept;

  [[nodiscard]] const std::string& manifest() const noexcept override;
  [[nodiscard]] std::string version() const override;
  void introduce(peer_card peer, std::function<void(expected<lane_choice>)> done) override;
  void forget(incarnation peer) override;
  [[nodiscard]] expected<lease> grant(session_key owner, grant_spec spec) override;
  void revoke(const lease& right) override;
  void when(session_key owner, gpu_event_ref event, std::function<void(expected<>)> done) override;
  void pull(session_key owner, pull_job job,
            std::function<void(expected<pull_stats>)> done) override;
  void retire(session_key owner, std::function<void()> done) override;
  [[nodiscard]] std::size_t granted() const noexcept override;
  [[nodiscard]] std::optional<error> broken() const override;

private:
  class impl;
  explicit rank_plane(std::unique_ptr<impl> state);
  std::unique_ptr<impl> impl_;
};

} // namespace baton
