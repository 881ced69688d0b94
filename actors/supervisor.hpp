#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "actors/options.hpp"
#include "actors/peer_places.hpp"
#include "actors/request_checks.hpp"
#include "actors/session.hpp"
#include "actors/tombstones.hpp"
#include "actors/withdrawals.hpp"
#include "messages/state.hpp"

namespace baton {

/// Names a caller who waits for an answer; the shell maps it to a response promise.
using caller_id = std::uint64_t;

/// A request whose end nobody has fetched.
struct ended_request {
  outcome result;
  time_point deadline;
  std::uint64_t number = 0; ///< see `census`
};

/// What a status call finds: the requests of one side that it may wait for.
struct census {
  std::size_t open = 0;          ///< live ones
  std::uint64_t last_number = 0; ///< requests with greater numbers came later
  time_point give_up;            ///< one clean-up bound after the last of their deadlines
};

/// What the supervisor needs from the world around it. Calls must not re-enter the supervisor.
class supervisor_backend {
public:
  virtual ~supervisor_backend() = default;

  virtual void send(incarnation peer, wire_message message) = 0;
  /// Finds out where a request's cache comes from, and makes those peers ready. Answered by
  /// `supervisor::routed`; an answer that comes after the request has ended is ignored.
  virtual void route(session_key key, const receive_request& request) = 0;
  /// What an open `route` waits for, e.g. "the directory at host:port has not answered".
  [[nodiscard]] virtual std::string waits_for(session_key key) = 0;
  /// Sends `notice` to every source of the request, at once or as soon as it can be reached. Called
  /// before `dismiss` of the same key. Sources that are lost meanwhile hear nothing.
  virtual void withdraw(session_key key, const receive_request& request, cancel_notice notice) = 0;
  virtual void spawn(receive_spec spec) = 0;
  virtual void spawn(send_spec spec) = 0;
  virtual void tell(session_key key, session_input input) = 0;
  /// Ends a session; it reports nothing any more. Unknown keys are ignored.
  virtual void dismiss(session_key key) = 0;
  /// `data_plane::retire`; answered by `supervisor::retired`.
  virtual void retire(session_key key) = 0;
  /// Answers the caller of `receive`.
  virtual void answer(caller_id caller, outcome result) = 0;
  /// Answers the caller of `cancel`: the blocks are safe to free.
  virtual void answer_safe(caller_id caller) = 0;
  /// Answers the caller of `ticket`; null: there is none.
  virtual void answer_ticket(caller_id caller, std::shared_ptr<const request_ticket> ticket) = 0;
  /// Answers the caller of `await_ended`.
  virtual void answer_ended(caller_id caller, std::vector<outcome> ended) = 0;
};

/// Supervises all requests of one rank: admits them, starts a session for each, starts it again
/// when it fails in a way that may pass, cleans up, and tells everybody who waits, exactly once.
///
///     receive: routing -> running -> retiring -> ended
///                 ^                     |
///                 +---- backing_off <---+        (send: the same without routing)
///
/// A prepared send runs before it has a slice, so that receivers are met, lost and cancelled as in
/// any other.
///
/// Every way out goes through `retiring`: the data plane has confirmed that no byte of the
/// request's blocks is read or written any more before a terminal state is reported or a new
/// attempt starts. Time is passed in; calls must come with times that do not go back. Not
/// thread-safe.
class supervisor {
public:
  /// @param seed  for the jitter of back-offs.
  supervisor(rank_layout layout, transceiver_options options, supervisor_backend& backend,
             std::uint64_t seed = random_number());

  // -- calls of the engine ----

  [[nodiscard]] expected<> offer(time_point now, send_slice slice);
  /// Takes in a request that is offered later: it waits as `context_wait_scheduler` until all its
  /// receivers have asked, then as `context_init` for its first slice. If it ends before that, the
  /// next offer of it, which the engine may be computing meanwhile, is refused with the reason.
  [[nodiscard]] expected<> prepare(time_point now, const context_request& request);
  /// Returns the requests that became `context_init` since the last call and still are.
  [[nodiscard]] std::vector<request_id> take_ready();
  /// Returns the slices of live requests that were released early since the last call, of each
  /// request in the order in which that happened.
  [[nodiscard]] std::vector<released_slice> take_released();
  /// Starts a receive. `caller` gets the outcome; without one it goes to `await_ended`.
  [[nodiscard]] expected<> receive(time_point now, receive_request request,
                                   std::optional<caller_id> caller);
  void cancel(request_id request, caller_id caller);
  /// Answers with this rank's ticket for a request once its last slice is offered and all are
  /// filled; with none if that takes longer than `patience`, the request ends before, or there are
  /// not leases enough. The ticket serves until the session of the request ends or is started
  /// again.
  void ticket(time_point now, request_id request, std::chrono::milliseconds patience,
              caller_id caller);
  /// Answers with the outcomes of one side that nobody has fetched, once there are `at_least` of
  /// them or all requests of that side that are live now have ended (nullopt: only then), and at
  /// the latest one clean-up bound after the last of their deadlines. Requests that still wait for
  /// their first slice are not waited for.
  void await_ended(time_point now, instance_role side, std::optional<std::size_t> at_least,
                   caller_id caller);
  /// Takes the outcomes of one side that nobody has fetched.
  [[nodiscard]] std::vector<ended_request> take_ended(instance_role side);
  /// Counts the live requests of one side whose outcomes nobody waits for and that have something
  /// to end.
  [[nodiscard]] census count_live(time_point now, instance_role side) const;
  /// Ends a request because another rank of the instance has failed it. Returns whether its outcome
  /// will be one that nobody waits for; if it is not live, the next call for it is refused.
  [[nodiscard]] bool abandon(request_id request, const error& reason);
  /// The deadline of a live request; now if it is not live.
  [[nodiscard]] time_point deadline_of(time_point now, request_id request) const;
  [[nodiscard]] std::optional<request_state> state_of(request_id request) const;
  /// Refuses new work from now on; live requests go on.
  void refuse_new();
  /// Ends every live request with `shutting_down`.
  void cancel_all();
  /// Ends every live request, and answers whoever waits for one, with the reason; refuses new work
  /// with it from now on. Once.
  void break_down(const error& reason);

  // -- events ----

  /// Returns a key for work of this rank that is no request's; whoever takes it retires it.
  [[nodiscard]] session_key take_key() noexcept { return next_key(); }
  /// A generation rank introduced itself to this context rank.
  void met(incarnation peer, peer_place place) { places_.add(peer, std::move(place)); }
  void received(time_point now, incarnation peer, wire_message message);
  void routed(time_point now, session_key key, tl::expected<receive_route, attempt_failure> route);
  void reported(time_point now, session_key key, session_report report);
  void crashed(time_point now, session_key key, const std::string& reason);
  void retired(time_point now, session_key key);
  void link_lost(time_point now, const link_loss& loss);
  /// Looks after deadlines and back-offs.
  void sweep(time_point now);

  // -- counts ----

  [[nodiscard]] std::size_t live() const noexcept { return records_.size(); }
  [[nodiscard]] std::size_t live(instance_role side) const noexcept;
  /// Live sends that wait for their first slice.
  [[nodiscard]] std::size_t prepared() const noexcept { return unnumbered_; }
  [[nodiscard]] std::size_t early() const noexcept { return early_count_; }
  [[nodiscard]] std::size_t waiting_callers() const noexcept;
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }
  /// Outcomes that nobody fetched in time.
  [[nodiscard]] std::uint64_t lost_outcomes() const noexcept { return lost_outcomes_; }

private:
  enum class phase : std::uint8_t { routing, running, retiring, backing_off };

  struct receiving {
    receive_request request;
    std::vector<group_range> wants;
    std::optional<caller_id> caller;
    pull_id pull;
    std::optional<receive_route> route;
    std::map<std::uint32_t, source_progress> progress; ///< by source rank
    std::map<std::uint32_t, source_report> reports;    ///< by source rank
  };

  struct sending {
    offer_id offer;
    std::vector<send_slice> slices;
    layer_cover offered;              ///< how far the slices reach
    std::set<std::uint32_t> unfilled; ///< slices whose GPU event is not known to be complete
    std::map<std::uint32_t, receiver_call> calls;              ///< by receiver rank
    std::map<std::uint32_t, std::set<std::uint32_t>> receipts; ///< by receiver rank
    std::shared_ptr<const request_ticket> ticket; ///< of the present attempt, if one was wanted
    std::set<std::uint32_t> released;             ///< slices
    std::vector<std::uint32_t> unreported;        ///< of these, what the engine was not told
    bool ready = false;     ///< all receivers have asked; counts only before the first slice
    bool announced = false; ///< the engine was told that it is ready
  };

  struct record {
    std::variant<receiving, sending> work;
    phase at = phase::running;
    session_key key;
    /// Counts the requests of this rank that have something to end; 0 while one waits for its
    /// first slice.
    std::uint64_t number = 0;
    bool asked = false; ///< receives: whether all sources know of the attempt
    time_point begin;
    time_point deadline;
    time_point resume_at; ///< in `backing_off`
    std::optional<time_point> granted_at;
    std::deque<time_point> restarts;
    outcome result;                    ///< collects what the attempts achieved
    std::optional<error> verdict;      ///< why it will end; never changes once set
    std::optional<error> last_failure; ///< of an attempt
    bool succeeded = false;            ///< the session ended well; only the clean-up is left
    std::vector<caller_id> cancellers;
  };

  struct early_call {
    receiver_call call;
    time_point expires;
  };

  struct ticket_asker {
    caller_id caller;
    time_point expires;
  };

  struct ended_waiter {
    instance_role side;
    std::optional<std::size_t> at_least;
    caller_id caller;
    std::uint64_t last_number; ///< of the requests that it waits for
    std::size_t open;          ///< how many of them are live
    time_point give_up;
  };

  using record_map = std::unordered_map<request_id, record>;

  [[nodiscard]] expected<> admit(request_id request, instance_role side) const;
  /// Makes the record of a new request, or refuses one too many.
  [[nodiscard]] expected<record> open(time_point now, request_id request,
                                      std::chrono::milliseconds timeout);
  [[nodiscard]] expected<> open_send(time_point now, send_slice slice);
  [[nodiscard]] expected<> append(time_point now, record& entry, send_slice slice);
  /// Makes a send live, with whoever has asked for it already.
  void start_send(time_point now, record made, sending work);
  /// From now on the request's end is waited for.
  void number(record& entry) noexcept;
  /// A prepared request may have become ready.
  void look_for_receivers(record& entry);
  void begin_receive(record& entry);
  void begin_send(record& entry);
  void condemn(record& entry, error reason);
  void notify_peers(record& entry);
  /// Tells sources that have not been asked that they will not be.
  void withdraw(const record& entry);
  void retire(record& entry);
  void retry_or_condemn(time_point now, record& entry, const attempt_failure& failure);
  void conclude(time_point now, record_map::iterator where);
  /// Keeps an outcome that nobody waits for, and forgets the oldest when there are too many.
  void keep(instance_role side, ended_request ended);
  [[nodiscard]] std::deque<ended_request>& unfetched(instance_role side) noexcept {
    return side == instance_role::context ? unfetched_context_ : unfetched_generation_;
  }
  void serve_waiters(time_point now);
  void answer_ticket(request_id request, const std::shared_ptr<const request_ticket>& ticket);
  void look_for_late_tickets(time_point now);
  [[nodiscard]] bool satisfied(time_point now, const ended_waiter& waiter) const;
  void called(time_point now, request_id request, std::uint32_t receiver, receiver_call call);
  void called(time_point now, record& entry, std::uint32_t receiver, receiver_call call);
  void called_early(time_point now, request_id request, std::uint32_t receiver, receiver_call call);
  void refuse(incarnation peer, request_id request, pull_id pull, error reason);
  void cancelled_by_peer(time_point now, incarnation peer, const cancel_notice& notice);
  /// The context rank's part of it. Returns whether it had an effect.
  [[nodiscard]] bool cancelled_by_receiver(record& entry, incarnation peer,
                                           const cancel_notice& notice);
  void cancelled_early(time_point now, incarnation peer, const cancel_notice& notice);
  /// Whether the deadline of a receiver that asked early has passed; then its request is refused.
  [[nodiscard]] bool gave_up_waiting(time_point now, request_id request, std::uint32_t receiver,
                                     const early_call& early);
  /// Starts the next attempt, unless a receiver was lost that the last one did not live to look
  /// after.
  void resume(record& entry);
  /// A live send that waits for a receiver which was lost cannot end well.
  void look_for_departed(time_point now, record& entry);
  /// Whether a receiver has acknowledged all slices, the last one among them.
  [[nodiscard]] static bool has_all(const sending& work, std::uint32_t receiver,
                                    const receiver_call& call);
  [[nodiscard]] error deadline_error(const record& entry) const;
  [[nodiscard]] std::string unfinished(const sending& work) const;
  [[nodiscard]] std::string unfinished(const record& entry, const receiving& work) const;

  [[nodiscard]] record* find(session_key key);
  [[nodiscard]] static instance_role side_of(const record& entry) noexcept;
  [[nodiscard]] static request_state state_of(const record& entry) noexcept;
  [[nodiscard]] session_key next_key() noexcept { return session_key{++last_key_}; }
  void assign_key(record& entry);
  void due(time_point when) noexcept;

  /// Takes a slice in that continues those before it.
  [[nodiscard]] expected<> add_slice(sending& work, const send_slice& slice) const;

  rank_layout layout_;
  layer_list layers_; ///< of this rank
  transceiver_options options_;
  supervisor_backend& backend_;
  record_map records_;
  std::unordered_map<session_key, request_id> keys_;
  std::unordered_map<request_id, std::map<std::uint32_t, early_call>> early_;
  std::size_t early_count_ = 0;
  tombstones ended_before_;
  withdrawals withdrawn_;
  peer_places places_;
  std::deque<ended_request> unfetched_context_;
  std::deque<ended_request> unfetched_generation_;
  std::vector<ended_waiter> waiters_;
  std::unordered_multimap<request_id, ticket_asker> ticket_askers_;
  std::vector<request_id> ready_;    ///< became so since they were taken
  std::vector<request_id> released_; ///< have unreported slices, maybe
  std::mt19937_64 jitter_;
  std::uint64_t last_key_ = 0;
  std::uint64_t last_number_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t lost_outcomes_ = 0;
  std::size_t live_sends_ = 0;
  std::size_t unnumbered_ = 0; ///< live sends that wait for their first slice
  time_point next_due_ = time_point::max();
  std::optional<error> refusal_; ///< of all new work
};

} // namespace baton
