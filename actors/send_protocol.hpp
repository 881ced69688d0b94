#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "actors/session.hpp"

namespace baton {

/// What a send session needs from the world around it. Calls must not re-enter the protocol.
class send_backend {
public:
  virtual ~send_backend() = default;

  virtual void send(incarnation peer, wire_message message) = 0;
  /// Waits for the GPU event of a slice; answered once by `send_protocol::filled`.
  virtual void when(std::uint32_t slice, gpu_event_ref event) = 0;
  [[nodiscard]] virtual expected<lease> grant(grant_spec spec) = 0;
  virtual void revoke(const lease& right) = 0;
  virtual void report(session_report report) = 0;
  virtual void passed(probe_point point) = 0;
};

/// One attempt to give one request away: grants every slice to every receiver that asked for it,
/// takes the lease back when the receiver is done with the slice.
///
///     slices arrive from the engine -> filled --+
///                                               +-> grant (slice, receiver) -> receipt -> revoke
///     calls arrive from receivers --------------+   ... until every expected receiver has every
///                                                       slice -> end
///
/// A slice is filled when its GPU event is complete, which may be in any order. One that is to be
/// released early is so when all expected receivers are done with it; a call that needs it again
/// ends the attempt for good.
///
/// On demand it grants all slices once more, to whoever holds the ticket. A receiver that calls
/// with that ticket is granted nothing else, unless it says that the ticket did not serve.
///
/// How many receivers there are is said by the first call (each says it, and the supervisor has
/// checked it). A receiver's newer call replaces its older one and its leases. It ends itself
/// with exactly one `session_end`; after that it ignores everything. Not thread-safe.
class send_protocol {
public:
  send_protocol(send_spec spec, send_backend& backend);

  void start();
  void handle(const session_input& input);

  /// The answer to `send_backend::when`.
  void filled(std::uint32_t slice, const expected<>& complete);

private:
  struct receiver {
    incarnation peer;
    pull_request call;
    std::map<std::uint32_t, lease> granted; ///< by slice
    std::set<std::uint32_t> done;
    bool by_ticket = false; ///< reads by the present ticket
  };

  void handle(incarnation peer, const wire_message& message);
  void called(const receiver_call& call);
  void await(std::uint32_t slice);
  void make_ticket_if_wanted();
  void revoke_ticket();
  void grant_all();
  void grant_all(receiver& to);
  [[nodiscard]] bool grant(receiver& to, std::uint32_t slice);
  void note_grant();
  /// What of a wanted range becomes ready with a slice; maybe nothing.
  [[nodiscard]] group_range offered(const group_range& want, const send_slice& slice) const;
  [[nodiscard]] expected<> add_range(slice_grant& message, const receiver& to,
                                     const group_range& want) const;
  void acknowledged(incarnation peer, const slice_done& message);
  void failed(incarnation peer, const slice_failed& message);
  void lost(const link_loss& loss);
  void revoke_all(receiver& from);
  void release_if_read(std::uint32_t slice);
  void release_all_read();
  void finish_if_complete();
  void end(std::optional<attempt_failure> failure);
  void pass_once(probe_point point);

  [[nodiscard]] receiver* find(incarnation peer, pull_id pull) noexcept;
  [[nodiscard]] bool complete(const receiver& of) const noexcept;
  [[nodiscard]] bool offered_last() const noexcept;
  [[nodiscard]] bool all_filled() const noexcept;

  send_spec spec_;
  send_backend& backend_;
  session_state state_ = session_state::init;
  std::optional<std::uint32_t> expected_;       ///< receivers
  std::map<std::uint32_t, receiver> receivers_; ///< by rank
  std::set<std::uint32_t> filled_;              ///< slices
  bool ticket_wanted_ = false;
  std::vector<lease> ticket_; ///< of all slices; empty if there is no ticket
  std::set<probe_point> passed_;
  std::uint64_t dropped_ = 0;
};

} // namespace baton
