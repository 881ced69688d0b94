#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "actors/options.hpp"
#include "actors/request_checks.hpp"
#include "actors/session.hpp"
#include "actors/tombstones.hpp"
#include "messages/state.hpp"

namespace baton {

/// Names a caller who waits for an answer; the shell maps it to a response promise.
using caller_id = std::uint64_t;

/// What the supervisor needs from the world around it. Calls must not re-enter the supervisor.
class supervisor_backend {
public:
  virtual ~supervisor_backend() = default;

  virtual void send(incarnation peer, wire_message message) = 0;
  /// Finds out where a request's cache comes from, and makes those peers ready. Answered by
  /// `supervisor::routed`; an answer that comes after the request has ended is ignored.
  virtual void route(session_key key, const receive_request& request) = 0;
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
/// Every way out goes through `retiring`: the data plane has confirmed that no byte of the
/// request's blocks is read or written any more before a terminal state is reported or a new
/// attempt starts. Time is passed in; calls must come with times that do not go back. Not
/// thread-safe.
class supervisor {
public:
  /// @param seed  for the jitter of back-offs.
  supervisor(rank_layout layout, transceiver_options options, supervisor_backend& backend,
             std::uint64_t seed = random_number());

  // -- calls of the engine
  // ----------------------------------------------------------------------------------

  [[nodiscard]] expected<> offer(time_point now, send_slice slice);
  /// Starts a receive. `caller` gets the outcome; without one it goes to `await_ended`.
  [[nodiscard]] expected<> receive(time_point now, receive_request request,
                                   std::optional<caller_id> caller);
  void cancel(request_id request, caller_id caller);
  /// Answers with the outcomes of one side that nobody has fetched, once there are `at_least` of
  /// them or no request of that side is live (nullopt: once none is live).
  void await_ended(instance_role side, std::optional<std::size_t> at_least, caller_id caller);
  [[nodiscard]] std::optional<request_state> state_of(request_id request) const;
  /// Refuses new work from now on; live requests go on.
  void refuse_new() noexcept { refusing_ = true; }
  /// Ends every live request with `shutting_down`.
  void cancel_all();

  // -- events
  // ------------------------------------------------------------------------------------------------

  void received(time_point now, incarnation peer, wire_message message);
  void routed(time_point now, session_key key, tl::expected<receive_route, attempt_failure> route);
  void reported(time_point now, session_key key, session_report report);
  void crashed(time_point now, session_key key, const std::string& reason);
  void retired(time_point now, session_key key);
  void link_lost(link_loss loss);
  /// Looks after deadlines and back-offs.
  void sweep(time_point now);

  // -- counts
  // ------------------------------------------------------------------------------------------------

  [[nodiscard]] std::size_t live() const noexcept { return records_.size(); }
  [[nodiscard]] std::size_t live(instance_role side) const noexcept;
  [[nodiscard]] std::size_t early() const noexcept { return early_count_; }
  [[nodiscard]] std::size_t waiting_callers() const noexcept;
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

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
    std::set<std::uint32_t> unfilled; ///< slices whose GPU event is not known to be complete
    std::map<std::uint32_t, receiver_call> calls;              ///< by receiver rank
    std::map<std::uint32_t, std::set<std::uint32_t>> receipts; ///< by receiver rank
  };

  struct record {
    std::variant<receiving, sending> work;
    phase at = phase::running;
    session_key key;
    time_point begin;
    time_point deadline;
    time_point resume_at; ///< in `backing_off`
    std::optional<time_point> granted_at;
    std::deque<time_point> restarts;
    outcome result;               ///< collects what the attempts achieved
    std::optional<error> verdict; ///< why it will end; never changes once set
    bool succeeded = false;       ///< the session ended well; only the clean-up is left
    std::vector<caller_id> cancellers;
  };

  struct early_call {
    receiver_call call;
    time_point expires;
  };

  struct ended_waiter {
    instance_role side;
    std::optional<std::size_t> at_least;
    caller_id caller;
  };

  using record_map = std::unordered_map<request_id, record>;

  [[nodiscard]] expected<> admit(request_id request, instance_role side) const;
  /// Makes the record of a new request, or refuses one too many.
  [[nodiscard]] expected<record> open(time_point now, request_id request,
                                      std::chrono::milliseconds timeout);
  void begin_receive(record& entry);
  void begin_send(record& entry);
  void condemn(record& entry, error reason);
  void notify_peers(record& entry);
  void retire(record& entry);
  void retry_or_condemn(time_point now, record& entry, const attempt_failure& failure);
  void conclude(time_point now, record_map::iterator where);
  /// Keeps an outcome that nobody waits for, and forgets the oldest beyond `tombstones` of them.
  void keep(instance_role side, outcome result);
  void serve_waiters();
  void called(time_point now, request_id request, std::uint32_t receiver, receiver_call call);
  void refuse(incarnation peer, request_id request, pull_id pull, error reason);
  void cancelled_by_peer(incarnation peer, const cancel_notice& notice);
  void forget_early(request_id request, incarnation peer, pull_id pull);
  [[nodiscard]] error deadline_error(const record& entry) const;

  [[nodiscard]] record* find(session_key key);
  [[nodiscard]] static instance_role side_of(const record& entry) noexcept;
  [[nodiscard]] session_key next_key() noexcept { return session_key{++last_key_}; }
  void assign_key(record& entry);
  void due(time_point when) noexcept;

  rank_layout layout_;
  transceiver_options options_;
  supervisor_backend& backend_;
  record_map records_;
  std::unordered_map<session_key, request_id> keys_;
  std::unordered_map<request_id, std::map<std::uint32_t, early_call>> early_;
  std::size_t early_count_ = 0;
  tombstones ended_before_;
  std::deque<outcome> unfetched_context_;
  std::deque<outcome> unfetched_generation_;
  std::vector<ended_waiter> waiters_;
  std::mt19937_64 jitter_;
  std::uint64_t last_key_ = 0;
  std::uint64_t dropped_ = 0;
  std::size_t live_sends_ = 0;
  time_point next_due_ = time_point::max();
  bool refusing_ = false;
};

} // namespace baton
