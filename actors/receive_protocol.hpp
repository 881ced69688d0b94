#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "actors/session.hpp"

namespace baton {

/// What a receive session needs from the world around it. Calls must not re-enter the protocol.
class receive_backend {
public:
  virtual ~receive_backend() = default;

  virtual void send(incarnation peer, wire_message message) = 0;
  /// Brings a slice in; answered once by `receive_protocol::pulled`.
  virtual void pull(std::uint32_t source, std::uint32_t slice, pull_job job) = 0;
  virtual void report(session_report report) = 0;
  virtual void passed(probe_point point) = 0;
};

/// One attempt to bring in one request: asks every source, pulls each slice as it is granted,
/// acknowledges it once it is validated.
///
///     start: ask all sources -> slice granted -> pulled and validated -> acknowledged
///            ... until every source's last slice is in and all wanted tokens are covered -> end
///
/// With a ticket it does not wait for grants: it asks, and reads under the leases of the ticket at
/// once. Should these not hold, what the source grants on being asked is read instead.
///
/// It ends itself on success and on the first failure, with exactly one `session_end`; after that
/// it ignores everything. Deadlines, cancels and retries are the supervisor's. Not thread-safe.
class receive_protocol {
public:
  receive_protocol(receive_spec spec, receive_backend& backend);

  /// Asks all sources.
  void start(time_point now);

  void handle(const session_input& input);

  /// The answer to `receive_backend::pull`.
  void pulled(std::uint32_t source, std::uint32_t slice, expected<pull_stats> result);

private:
  void ask(const source_route& source, std::chrono::milliseconds remaining);
  void grant(const source_route& source, const slice_grant& grant);
  void read(const source_route& source, slice_grant grant);
  /// Looks what the ticket holds, by source.
  [[nodiscard]] std::vector<std::pair<const source_route*, slice_grant>> take_tickets();
  /// The ticket's lease of a slice did not hold.
  void fall_back(const source_route& source);
  void read_what_waits(const source_route& source);
  void lost(const source_route& source, bool gone);
  void finish_if_complete();
  void end(std::optional<attempt_failure> failure);
  void pass_once(probe_point point);

  [[nodiscard]] const source_route* source_of(incarnation peer) const noexcept;
  /// Whether all grants of a source are in hand.
  [[nodiscard]] bool fully_granted(const source_route& source) const;
  [[nodiscard]] std::vector<group_range> wants_of(const source_route& source) const;
  [[nodiscard]] expected<> check(const source_route& source, const slice_grant& grant) const;
  [[nodiscard]] expected<> check_cover(const source_route& source) const;

  /// How the ticket serves at one source.
  struct ticket_state {
    ticket_use use = ticket_use::none;
    lease first;                                  ///< of its first slice
    std::set<std::uint32_t> reading;              ///< slices
    std::map<std::uint32_t, slice_grant> waiting; ///< granted meanwhile, by slice
    std::optional<bool> lost;                     ///< the link broke meanwhile; true: for good
  };

  receive_spec spec_;
  receive_backend& backend_;
  session_state state_ = session_state::init;
  std::map<std::pair<std::uint32_t, std::uint32_t>, slice_grant> pulling_; ///< (source, slice)
  std::map<std::uint32_t, ticket_state> tickets_;                          ///< by source rank
  std::set<probe_point> passed_;
  std::uint64_t dropped_ = 0;
};

} // namespace baton
