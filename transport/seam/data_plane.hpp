#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gpu/event.hpp"
#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/layout.hpp"
#include "messages/wire.hpp"
#include "transport/plan/plan.hpp"

namespace baton {

/// How bytes move between two ranks.
enum class lane_kind : std::uint8_t { mapped = 1, ucx };

/// Which lanes a rank may use. Anything but `automatic` is a demand: an introduction fails if it
/// cannot be met.
enum class lane_policy : std::uint8_t { automatic, mapped, ucx };

[[nodiscard]] std::string_view to_string(lane_kind lane) noexcept;

/// The lane of one pair of ranks, and why it was chosen, e.g. "peer is on another host".
struct lane_choice {
  lane_kind lane = lane_kind::ucx;
  std::string reason{};
};

/// Another rank, as the data plane must know it.
struct peer_card {
  incarnation life{};
  rank_layout layout{};
  std::string manifest{}; ///< as its data plane wrote it
  std::shared_ptr<const planner>
      pull; ///< for pulls from the peer; null if this rank never pulls from it
  std::shared_ptr<const planner> serve; ///< for pulls of the peer from this rank; null likewise
};

/// The blocks of one slice that one peer may read, or everyone who knows the lease.
struct grant_spec {
  incarnation reader{}; ///< 0: every introduced peer
  /// Without a certain reader they have no tails: each reader has its own.
  std::vector<group_range> ranges{};
  std::vector<group_blocks> blocks{}; ///< same groups, same order
};

/// One slice to bring in: what is granted, and the blocks that take it.
struct pull_job {
  incarnation source{};
  lease right{};
  std::vector<group_range> ranges{};
  std::vector<group_blocks> source_blocks{}; ///< same groups, same order
  std::vector<group_blocks>
      destination_blocks; ///< whole tables of the request; groups in any order
  /// Nothing is written before it is complete; may be empty. It must neither be destroyed nor be
  /// recorded anew before the pull has ended.
  gpu_event_ref after{};
};

/// What a finished pull moved, and how.
struct pull_stats {
  std::uint64_t bytes = 0;
  std::uint64_t fragments = 0; ///< pieces contiguous on both sides
  std::uint32_t templates = 0;
  lane_choice lane{};
  std::chrono::microseconds pulling{0}; ///< from the call of `pull` to the end
};

/// The seam between sessions and the machinery that moves bytes. Behind it stand the real one
/// (`rank_plane`) and a fake for tests (`fake_plane`).
///
/// Every job and every lease belongs to the session that made it, named by its `session_key`. A key
/// dies when it retires: whatever comes for it later is refused. So sessions number their keys
/// upwards and use none twice, and the plane can remember all dead ones in little memory. All
/// calls return at once and may be made from any thread; callbacks come from a thread of the data
/// plane (or, for jobs so small that a hand-over would cost more than the copy, from within the
/// call), must not block or throw, and are called exactly once.
class data_plane {
public:
  virtual ~data_plane() = default;

  /// Returns what peers need to reach this rank's memory, at most `wire_limits::manifest_bytes`.
  [[nodiscard]] virtual const std::string& manifest() const noexcept = 0;

  /// Returns the version of the transport library, e.g. "1.22.0", for introductions.
  [[nodiscard]] virtual std::string version() const = 0;

  /// Makes the pools and lanes of a peer ready, and chooses the lane for pulls from it. Introducing
  /// a known peer again answers with the choice made before, unless it has plans for pulls from it
  /// now and had none: then its pools are made ready too.
  virtual void introduce(peer_card peer, std::function<void(expected<lane_choice>)> done) = 0;

  /// Gives up a peer whose link is lost: its mappings and endpoint go once no job of ours uses
  /// them. Jobs under way may still end well.
  virtual void forget(incarnation peer) = 0;

  /// Grants `spec.reader`, or all peers, the right to read; ends with `revoke` or `retire`.
  ///
  /// @returns `out_of_resources` when all leases are in use, `invalid_argument` for blocks outside
  /// of the pools, `cancelled` if the session has retired.
  [[nodiscard]] virtual expected<lease> grant(session_key owner, grant_spec spec) = 0;

  /// Takes a lease back: no read that ends after this call validates. A lease revoked before, or
  /// granted to somebody else since, is left alone. Copies of our own that are under way may go on
  /// for a moment; `retire` waits for them.
  virtual void revoke(const lease& right) = 0;

  /// Tells when a GPU event is complete, e.g. that of the kernels which fill the blocks of a slice,
  /// so that these can be granted. An empty event is complete at once. A wait ends at the latest
  /// with its session.
  ///
  /// @param event must neither be destroyed nor be recorded anew before the callback. Whoever has a
  ///        stream instead makes one with `record_event`.
  /// @param done gets `cancelled` (by `retire`, or at the end of the plane), or `gpu_failed` if the
  ///        work before the event failed or this library was built without CUDA.
  virtual void when(session_key owner, gpu_event_ref event,
                    std::function<void(expected<>)> done) = 0;

  /// Brings one slice in. `done` is called when no byte of it will be written any more, with
  /// the stats if every byte was read while granted, else with the error:
  /// `lease_revoked`, `cancelled` (by `retire`), `peer_lost`, `transport_failed`, `gpu_failed`,
  /// `invalid_argument`.
  virtual void pull(session_key owner, pull_job job,
                    std::function<void(expected<pull_stats>)> done) = 0;

  /// Ends all that belongs to a session, for good: cancels its jobs, revokes its leases, and
  /// refuses later ones as `cancelled`. `done` is called when none of its blocks is read or written
  /// by this process any more. Bounded in time, whatever peers do.
  virtual void retire(session_key owner, std::function<void()> done) = 0;

  /// How many leases are granted now.
  [[nodiscard]] virtual std::size_t granted() const noexcept = 0;

  /// Why this plane moves nothing any more, for good: one of its threads failed, say. Nothing while
  /// it works. What was under way has ended with an error by then, or does so soon; `revoke` and
  /// `retire` still keep their promises; `grant`, `when` and `pull` fail with this.
  [[nodiscard]] virtual std::optional<error> broken() const { return std::nullopt; }
};

} // namespace baton
