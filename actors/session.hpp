#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "actors/layer_cover.hpp"
#include "actors/options.hpp"
#include "actors/request.hpp"
#include "messages/ids.hpp"
#include "messages/ticket.hpp"
#include "messages/wire.hpp"
#include "transport/seam/data_plane.hpp"

/// What the supervisor of a rank and its sessions say to each other. Plain values, no actors.
namespace baton {

using time_point = std::chrono::steady_clock::time_point;

/// One context rank that a receiver pulls from.
struct source_route {
  incarnation peer;
  std::uint32_t rank = 0;
  std::uint32_t receivers = 0;     ///< ranks that pull this request from it
  std::vector<std::string> groups; ///< of which it holds a part
  bool carries_aux = false;
  lane_choice lane;
  std::vector<layer_list> layers; ///< of each of `groups`: those that are read from it
};

/// One context rank from which nobody pulls, and which this receiver must tell so.
struct idle_route {
  incarnation peer;
  std::uint32_t rank = 0;
};

/// Where a request's cache comes from: all peers are introduced, their lanes are ready.
struct receive_route {
  std::uint64_t layout_digest = 0; ///< of this rank's own instance
  std::vector<source_route> sources;
  std::vector<idle_route> idle;
};

/// What was validated of one offer of one source, in all attempts of a request.
struct source_progress {
  offer_id offer; ///< whose slices these are
  /// Validated slices and what they brought.
  std::map<std::uint32_t, std::vector<group_range>> slices;
  std::optional<std::uint32_t> last; ///< index of the last slice, once known

  /// Whether every slice up to the last one is here.
  [[nodiscard]] bool complete() const noexcept { return last && slices.size() == *last + 1; }
};

/// Everything that one attempt of a receive session starts from.
struct receive_spec {
  session_key key;
  pull_id pull;
  std::uint32_t rank = 0; ///< this rank
  receive_request request;
  std::vector<group_range> wants; ///< per group of this rank
  receive_route route;
  std::map<std::uint32_t, source_progress> progress; ///< by source rank
  time_point deadline;
};

/// The last word of one receiver to a source.
struct receiver_call {
  incarnation peer;
  std::variant<pull_request, nothing_to_pull> message;
  bool gone = false; ///< that incarnation will not come back; for the supervisor

  [[nodiscard]] pull_id pull() const noexcept {
    return std::visit([](const auto& m) { return m.pull; }, message);
  }
};

/// Everything that one attempt of a send session starts from.
struct send_spec {
  session_key key;
  offer_id offer;
  request_id request;
  std::vector<send_slice> slices;
  std::map<std::uint32_t, receiver_call> calls;              ///< by receiver rank
  std::map<std::uint32_t, std::set<std::uint32_t>> receipts; ///< slices done, by receiver rank
  std::vector<std::string> states;  ///< groups of this rank that hold state
  std::uint32_t rank = 0;           ///< this rank
  std::set<std::uint32_t> released; ///< slices that are never granted again
};

/// Why an attempt ended, if it did not succeed.
struct attempt_failure {
  error reason;
  bool may_retry = false;
};

/// Ranks of one dp group, ascending; null if there are none. Shared by all of them, for they may be
/// many.
using receiver_list = std::shared_ptr<const std::vector<std::uint32_t>>;

/// What a context rank knows of a generation rank that introduced itself.
struct peer_place {
  std::string instance;
  std::uint32_t rank = 0;
  /// The ranks of its dp group that pull from us. All of them must ask before a request can end.
  receiver_list receivers;
};

/// A link to a peer broke; `gone` if that incarnation will not come back.
struct link_loss {
  incarnation peer;
  bool gone = false;
};

/// A message from a peer.
struct peer_message {
  incarnation peer;
  wire_message message;
};

/// The engine wants a ticket for the request, as soon as all of it can be granted.
struct ticket_wanted {};

/// What the supervisor tells a session.
using session_input = std::variant<peer_message, send_slice, link_loss, ticket_wanted>;

/// A slice that a receive session validated.
struct slice_validated {
  std::uint32_t source = 0; ///< rank
  offer_id offer;
  std::uint32_t slice = 0;
  bool last = false;
  std::vector<group_range> ranges;
  std::optional<aux_data> aux;
  pull_stats stats;
  ticket_use ticket = ticket_use::none; ///< of this source, so far
};

/// A receipt that a send session got from a receiver.
struct slice_receipt {
  std::uint32_t receiver = 0; ///< rank
  pull_id pull;               ///< the call that it answers
  std::uint32_t slice = 0;
};

/// All receivers have read a slice that is to be released early; it will not be granted again.
struct slice_released {
  std::uint32_t slice = 0;
};

/// The GPU event of a slice is complete.
struct slice_filled {
  std::uint32_t slice = 0;
};

/// The ticket that was wanted. It grants for as long as the session lasts.
struct ticket_made {
  std::shared_ptr<const request_ticket> ticket; ///< null: too many leases are in use
};

/// The first grant arrived.
struct first_grant {};

/// A session's end.
struct session_end {
  std::optional<attempt_failure> failure; ///< nullopt = success
  std::uint64_t dropped = 0; ///< messages that were late, repeated or not for this attempt
};

/// What a session tells the supervisor.
using session_report = std::variant<slice_validated, slice_receipt, slice_released, slice_filled,
                                    ticket_made, first_grant, session_end>;

} // namespace baton
