#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "actors/block_offer.hpp"
#include "actors/block_owner.hpp"
#include "actors/router.hpp"
#include "actors/session.hpp"
#include "messages/ticket.hpp"

namespace baton {

/// What the exchange of blocks needs from the world around it. Calls must not re-enter it.
class exchange_backend {
public:
  virtual ~exchange_backend() = default;

  /// Asks the directory at `endpoint` for its instance; the answer goes to
  /// `block_exchange::described`. `again`: it has answered before, so that its silence means more.
  virtual void describe_owner(const std::string& endpoint, bool again) = 0;
  /// Returns the lane by which a peer can be read, if there is one already. If not, makes the link
  /// or has it read by; what comes of it goes to `block_exchange::handle`.
  [[nodiscard]] virtual std::optional<lane_kind> link_to(const source_contact& peer) = 0;
  [[nodiscard]] virtual session_key new_key() = 0;
  [[nodiscard]] virtual expected<lease> grant(session_key key, grant_spec spec) = 0;
  /// Answered by `block_exchange::pulled`.
  virtual void pull(session_key key, pull_job job) = 0;
  /// `data_plane::retire`; answered by `block_exchange::retired`.
  virtual void retire(session_key key) = 0;
  /// Answers the caller of `pull`.
  virtual void answer_pull(std::uint64_t caller, block_outcome result) = 0;
  /// Answers the caller of `withdraw`: the blocks are safe to rewrite.
  virtual void answer_safe(std::uint64_t caller) = 0;
};

/// Offers and pulls of blocks that are no request's.
///
/// An offer is a ticket of one rank, of which nobody tells the owner whether it was used; the lease
/// alone decides whether what was read is valid. So a pull needs no word of the owner either:
///
///     describing -> connecting -> pulling -> retiring -> outcome
///                                 |     ^
///                                 v     |
///                                  busy      (the owner serves too many at once)
///
/// Otherwise it is not tried again: an offer may be withdrawn at any time anyway, and whoever wants
/// the blocks can compute them. Every step ends at the pull's deadline. Not thread-safe.
class block_exchange {
public:
  /// @param most_pulls  that may be in flight.
  block_exchange(rank_layout layout, std::size_t most_pulls, exchange_backend& backend);

  /// Offers name this rank's directory, at `endpoint` (host:port).
  void enlisted(std::string endpoint) { endpoint_ = std::move(endpoint); }
  /// The instance that this rank belongs to is complete; pulls wait for that.
  void complete(own_instance_ptr own);

  /// Offers blocks until they are withdrawn or the offer times out.
  ///
  /// @returns `invalid_argument`, `out_of_resources` when all leases are in use or the encoded
  ///          offer is longer than `ticket_bytes`, `shutting_down`.
  [[nodiscard]] expected<standing_offer> offer(time_point now, const block_offer& what);
  /// Takes an offer back, if it still stands. What is read of it from now on is not valid.
  void withdraw(offer_id id, std::uint64_t caller);
  void pull(time_point now, block_pull what, std::uint64_t caller);
  /// Refuses new offers and pulls from now on.
  void refuse_new() noexcept { refusing_ = true; }
  /// Withdraws all offers, ends all pulls with `shutting_down`.
  void end_all();

  void described(const std::string& endpoint, const expected<instance_info>& instance);
  void handle(const link_event& event);
  void pulled(time_point now, session_key key, expected<pull_stats> result);
  void retired(time_point now, session_key key);
  /// Looks after deadlines.
  void sweep(time_point now);

  /// Offers that stand, or are about to be safe.
  [[nodiscard]] std::size_t offers() const noexcept { return offers_.size(); }
  [[nodiscard]] std::size_t pulls() const noexcept { return pulls_.size(); }
  /// Whether a pull waits for the link to a peer.
  [[nodiscard]] bool waits_for(incarnation peer) const noexcept;
  /// Keys of all offers and pulls.
  [[nodiscard]] std::vector<session_key> keys() const;

private:
  struct granted_offer {
    session_key key;
    time_point expires;
    bool leaving = false;                 ///< is being retired
    std::vector<std::uint64_t> callers{}; ///< of `withdraw`
  };

  enum class phase : std::uint8_t { describing, connecting, pulling, busy, retiring };

  struct running_pull {
    std::uint64_t caller = 0;
    std::string endpoint;  ///< of the owner's directory
    request_ticket ticket; ///< of the owner
    block_pull what;
    phase at = phase::describing;
    lane_kind lane = lane_kind::mapped; ///< once connected
    time_point begin;
    time_point deadline;
    time_point resume_at; ///< in `busy`
    block_outcome result;

    [[nodiscard]] const rank_ticket& from() const { return ticket.ranks.front(); }
    [[nodiscard]] const ticket_slice& slice() const { return from().slices.front(); }
    [[nodiscard]] incarnation owner() const { return from().life; }
  };

  [[nodiscard]] expected<running_pull> read(block_pull what) const;
  void leave(granted_offer& offer);
  /// Finds the owner, unless it is known.
  void seek(session_key key, running_pull& pull);
  [[nodiscard]] expected<> meet(const running_pull& pull, const instance_info& instance);
  void connect(session_key key, running_pull& pull);
  void begin(session_key key, running_pull& pull);
  void end(session_key key, running_pull& pull, std::optional<error> failure);
  [[nodiscard]] bool gives_all(const running_pull& pull, const ticket_range& range) const;
  [[nodiscard]] error too_late(const running_pull& pull) const;
  void due(time_point when) noexcept { next_due_ = std::min(next_due_, when); }

  rank_layout layout_;
  std::size_t most_pulls_;
  exchange_backend& backend_;
  std::string endpoint_;
  own_instance_ptr own_;
  std::map<offer_id, granted_offer> offers_;
  std::map<session_key, offer_id> offer_of_;
  std::map<session_key, running_pull> pulls_;
  std::set<std::string> asked_;                         ///< directories that have not answered yet
  std::set<std::string> described_;                     ///< those that have
  std::unordered_map<incarnation, block_owner> owners_; ///< until they are lost
  time_point next_due_ = time_point::max();
  bool refusing_ = false;
};

} // namespace baton
