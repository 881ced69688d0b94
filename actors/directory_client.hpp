#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "actors/rank_context.hpp"

namespace baton {

/// What a directory client is for.
struct directory_errand {
  std::string endpoint; ///< host:port of the directory
  /// Enlist this rank, and stay to enlist it again after a restart.
  std::optional<rank_info> enlist;
  /// How long a directory may be silent; unused when enlisting.
  std::chrono::milliseconds patience{10'000};
  bool for_blocks = false; ///< whether pulls of blocks want the answer, not requests
};

/// INTERNAL to the rank, but for what makes it its `member_actor`.
using directory_client_actor = member_actor::extend<
    // Time to try again.
    caf::reacts_to<atom::retry, std::uint64_t>,
    // Passes an encoded `agreement_vote` on, if the directory can be reached.
    caf::reacts_to<atom::agree, std::string>,
    // Has the directory collect the tickets of a request; see `door_actor`.
    caf::replies_to<atom::collect, std::uint64_t, std::uint64_t>::with<std::string>>;

struct directory_client_state {
  explicit directory_client_state(
      directory_client_actor::stateful_pointer<directory_client_state> owner)
      : self{owner} {}

  static inline const char* name = "baton.directory-client";

  void knock();
  void enlist(const door_actor& door);
  void describe(const door_actor& door);
  void described(const std::string& bytes);
  void tell(expected<instance_info> instance);
  void failed(const error& reason);
  void retry_later();
  void vote(std::string bytes);
  void agreed(const std::string& bytes);
  caf::result<std::string> collect(std::uint64_t request, std::uint64_t patience_ms);

  directory_client_actor::stateful_pointer<directory_client_state> self;
  rank_context_ptr rank;
  transceiver_actor owner;
  directory_errand errand;
  std::chrono::steady_clock::time_point begin;
  std::chrono::milliseconds backoff{20};
  bool enlisted = false;   ///< once it is, only a replacement by another process is final
  door_actor watched;      ///< where this rank is enlisted
  std::uint64_t round = 0; ///< numbers the attempts; timers of older ones are dropped
};

/// Asks a directory for its instance until it answers, and tells `owner` (`atom::describe`). Where
/// this rank is enlisted, it also votes for it, and tells `owner` the verdicts, or that the
/// directory was lost (`atom::agreed`), and passes on what the two ask each other about tickets.
directory_client_actor::behavior_type
directory_client(directory_client_actor::stateful_pointer<directory_client_state> self,
                 rank_context_ptr rank, transceiver_actor owner, directory_errand errand);

} // namespace baton
