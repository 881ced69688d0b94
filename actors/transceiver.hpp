#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/block_offer.hpp"
#include "actors/options.hpp"
#include "actors/request.hpp"
#include "messages/error.hpp"
#include "messages/layout.hpp"
#include "transport/seam/data_plane.hpp"

namespace caf {
class actor_system;
}

namespace baton {

/// One rank's end of the hand-over, as an engine loop sees it: a blocking facade over the
/// transceiver actor.
///
/// Thread-safe. The actor system must outlive it and must have been made from a
/// `baton::actor_config` (or a config that `baton::configure` was applied to). No call may be made
/// from a pooled actor: those talk to the actor itself (`actor_access` in actors/actors.hpp). No
/// call throws. Every call returns in bounded time: calls that wait for requests soon after these
/// requests' deadlines, all others within 10 s plus `transceiver_options::clean_up`, however loaded
/// the machine is.
///
/// Should the data plane fail for good (`data_plane::broken`), every request ends with the reason,
/// and new ones are refused with it: shut this rank down, and start it again.
class transceiver {
public:
  /// Starts the rank: spawns the actors, publishes the rank's endpoint and registers it with its
  /// instance. Does not wait for the other ranks.
  ///
  /// @param layout  of this rank; `layout.life` must be the data plane's incarnation.
  /// @returns `invalid_argument` for a layout or options that are not valid, or an endpoint that
  /// cannot be bound; the text names the field.
  [[nodiscard]] static expected<transceiver> start(caf::actor_system& system, rank_layout layout,
                                                   std::shared_ptr<data_plane> plane,
                                                   rank_endpoint endpoint,
                                                   transceiver_options options = {});

  transceiver(transceiver&&) noexcept;
  transceiver& operator=(transceiver&&) noexcept;
  /// Shuts down at once (drain time zero) unless `shutdown` was called.
  ~transceiver();

  /// Context side: offers one slice, to be read once `slice.after` is complete. The blocks must
  /// stay untouched from then on until the request has ended, or `released_slices` names the slice.
  /// A request may have at most `wire_limits::slices` of them. If its generation side has cancelled
  /// it already, it is accepted and ends at once.
  /// @returns `duplicate_request` when the request's last slice was offered before, or
  /// `invalid_argument`, `out_of_resources`, `shutting_down`.
  [[nodiscard]] expected<> respond_and_send_async(send_slice slice);

  /// Context side, for workflows in which the generation side asks first: takes in requests that
  /// this rank is to compute, and returns those that are ready, of this and of earlier calls. Does
  /// not wait for requests; call it in every step of the scheduler, with whatever is new.
  ///
  /// A prepared request is `CONTEXT_WAIT_SCHEDULER` until every generation rank that pulls it from
  /// this rank has asked (also before it was prepared), or the one that speaks for those that pull
  /// nothing from here; then it is `CONTEXT_INIT` and returned once as ready: compute it and offer
  /// its slices. It may be offered before it is ready, and then is not returned.
  ///
  /// A prepared request ends like any other, reported by `check_context_transfer_status`:
  /// `timed_out` if its first slice was not offered in time (nobody asked, or the engine was slow),
  /// `cancelled`, `peer_lost` or `shutting_down`. An offer of it that crosses such an end is
  /// refused with the reason; later ones are taken as new requests.
  ///
  /// With `transceiver_options::agreement` on, a request is ready when it is on all ranks of the
  /// instance (of its dp group), and the n-th call of each returns the same; the call waits for the
  /// others as `check_context_transfer_status` does. If they cannot be asked, nothing is ready.
  /// @returns in `refused`: `duplicate_request` for a live id (that request goes on),
  /// `invalid_argument`, `out_of_resources`, `shutting_down`.
  [[nodiscard]] preparation prepare_context_requests(std::vector<context_request> requests = {});

  /// Context side: returns the slices with `early_release` that were read by every receiver since
  /// the last call, and whose blocks may be rewritten while their requests go on. Does not wait;
  /// call it in every step of the scheduler. What is not named stays as it is until its request has
  /// ended, and after that no slice of it is named. Each rank answers for its own blocks; there is
  /// nothing to agree on with others.
  [[nodiscard]] std::vector<released_slice> released_slices();

  /// Generation side: starts a receive; its end is reported by `check_gen_transfer_status`. Nothing
  /// is written before `request.after` is complete.
  [[nodiscard]] expected<> request_and_receive_async(receive_request request);

  /// Generation side: receives and waits for the end, which comes at most one clean-up bound after
  /// `request.timeout`; the request's blocks are safe then. Should a badly overloaded machine miss
  /// that by another 10 s, the outcome is a `timed_out` whose text says that the blocks are *not*
  /// safe: free them after `cancel_request` has returned true. A refused call (duplicate id, bad
  /// arguments) returns an outcome with `failure` set and attempts 0, and leaves a live request of
  /// the same id untouched.
  [[nodiscard]] outcome request_and_receive_sync(receive_request request);

  /// Returns the requests that ended since the last call, after waiting until there are at least
  /// `at_least` of them or all that were live at the call have ended (nullopt: only then). 0 does
  /// not wait. Requests that are added meanwhile do not prolong the wait; it ends at the latest one
  /// clean-up bound after the last deadline of those that were live. A prepared request that was
  /// not offered yet is not waited for.
  ///
  /// With `transceiver_options::agreement` on, the ranks of an instance (of its dp group, with
  /// attention data parallelism) return the same: the n-th call of every rank returns the same
  /// requests in the same order, complete if all ranks have completed them, failed for the same
  /// reason as soon as one has (it is then ended on the others as well), or was lost. So that this
  /// can be, a call waits for the others to make theirs, at most for `agreement.patience`; 0 waits
  /// as well. A rank that is late finds the answers that the others were given; one that is more
  /// than 8 calls late finds all that it missed in one call, and a restarted one joins in. Should
  /// the directory's rank (rank 0) not answer, a call returns what this rank knows itself, with
  /// `outcome::agreed` false. Blocking receives report to their caller only. A call costs one
  /// message to the directory's rank and its answer, however many requests there are.
  [[nodiscard]] std::vector<outcome>
  check_context_transfer_status(std::optional<std::size_t> at_least = 0);
  [[nodiscard]] std::vector<outcome>
  check_gen_transfer_status(std::optional<std::size_t> at_least = 0);

  /// Whether no receive is in flight; false also if that could not be found out.
  [[nodiscard]] bool check_gen_transfer_complete();

  /// Ends a request as `TRANS_ERROR` (`cancelled`) on both sides; ranks that have finished it stay
  /// complete. Returns true once its blocks on this rank are safe to free, also for a request that
  /// has ended or is not known; false if that could not be confirmed in time.
  [[nodiscard]] bool cancel_request(request_id request);

  /// Returns a request's state; nullopt if it is neither live nor remembered.
  [[nodiscard]] std::optional<request_state> state_of(request_id request);

  /// What a router must hand to the generation side for requests computed here, as the bytes that
  /// `encode` makes of it; there, `decode_params` makes `receive_request::context` of them. The
  /// same for all requests of this rank, and on all ranks of an instance (of a dp group, with
  /// attention data parallelism): those of any rank of the group that computes the request will do.
  [[nodiscard]] disaggregated_params get_disaggregated_params() const;

  /// The same for one request that was offered here, with a ticket: grants of all ranks that
  /// compute the request, so that its receivers read at once instead of asking first. Call it on
  /// any one of these ranks, once.
  ///
  /// A ticket is made when every rank has offered its last slice and the GPU has filled them all;
  /// this call waits up to `patience` (longest: `longest_ticket_wait`) for that. It serves until
  /// the request ends on the rank that granted; receivers who come later, or to a rank that was
  /// restarted, ask as they do without one (`source_report::ticket`).
  ///
  /// There may be none: a rank was late or has too few leases, the request has ended or is not
  /// known, a slice is to be released early, or the encoded ticket would exceed `ticket_bytes`.
  /// Then these are the parameters without one. Requests whose receivers ask first (the workflows
  /// gen_first) have no use for it.
  [[nodiscard]] disaggregated_params
  get_disaggregated_params(request_id request,
                           std::chrono::milliseconds patience = default_ticket_wait);

  /// Lets other ranks read blocks that are no request's, until they are withdrawn or the offer
  /// times out: those of a prefix cache, say, for other workers. They must be filled, and stay
  /// untouched until then. Who may read is decided by who is handed the bytes, and how often they
  /// were read is not told.
  /// @returns `invalid_argument`, `out_of_resources` when all leases are in use or the encoded
  /// offer would exceed `ticket_bytes` (blocks in runs take the least), `shutting_down`.
  [[nodiscard]] expected<standing_offer> offer_blocks(block_offer offer);

  /// Takes an offer back: whoever still reads gets `lease_revoked`. Returns true once the blocks
  /// are safe to rewrite, also for an offer that has timed out or is not known; false if that could
  /// not be confirmed in time. When an offer times out, its blocks are safe too once this returns
  /// true.
  [[nodiscard]] bool withdraw_offer(offer_id offer);

  /// Brings offered blocks in, and waits for the end; engines made of actors send `atom::pull`
  /// instead. The owner may be any other rank of this role, or one of a context instance if this is
  /// a generation rank; its layout may differ in all that may differ between a context and a
  /// generation rank, but for element types within one role. What moves is what both ranks hold (of
  /// unlike roles: this pair's share of it, as in a request), see `block_outcome::whole`. The owner
  /// need not do anything, and is not told; while it serves too many pulls of the offer, this one
  /// waits for its turn.
  ///
  /// Fails as `lease_revoked` (withdrawn, timed out), `peer_lost` (the owner is gone or was
  /// restarted), `timed_out`, `incompatible_layout`, `invalid_argument`, `out_of_resources` (more
  /// than `transceiver_options::live_requests` pulls), `transport_failed`, `gpu_failed`,
  /// `shutting_down`. It is not tried again.
  [[nodiscard]] block_outcome pull_blocks(block_pull pull);

  /// This rank's control endpoint, host:port.
  [[nodiscard]] const std::string& endpoint() const noexcept;

  /// Counts for tests and metrics.
  struct statistics {
    std::size_t live_sends = 0;
    std::size_t prepared = 0; ///< of these: wait for their first slice
    std::size_t live_receives = 0;
    std::size_t sessions = 0;
    std::size_t early_requests = 0;
    std::size_t waiting_callers = 0;
    std::size_t leases_granted = 0;
    std::size_t links = 0;
    std::size_t block_offers = 0; ///< that stand
    std::size_t block_pulls = 0;  ///< in flight
    std::uint64_t dropped_messages = 0;
    std::uint64_t lost_outcomes = 0; ///< that nobody fetched before too many had ended
  };
  [[nodiscard]] statistics stats();

  /// Refuses new work, waits up to `drain` for live requests (not for prepared ones that were not
  /// offered yet), cancels the rest, ends the actors. The status calls still tell what ended
  /// meanwhile.
  /// The data plane stays with its owner; an actor that is just ending may hold it a moment longer.
  /// Idempotent; a second caller waits for the first.
  void shutdown(std::chrono::milliseconds drain = std::chrono::milliseconds{0});

private:
  friend struct actor_access;
  class impl;
  [[nodiscard]] std::vector<outcome> check(instance_role side, std::optional<std::size_t> at_least);
  explicit transceiver(std::unique_ptr<impl> state);
  std::unique_ptr<impl> impl_;
};

} // namespace baton
