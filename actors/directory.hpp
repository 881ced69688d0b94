#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "actors/agreement_host.hpp"
#include "actors/rank_context.hpp"

namespace baton {

/// Knows all ranks of one instance; lives on its rank 0, behind the door. Ranks enlist with it,
/// again after it was restarted; it describes the instance once all have. Ranks that agree on what
/// their status calls return vote here, and here the tickets of all ranks are put together.
struct directory_state {
  static inline const char* name = "baton.directory";

  /// A question that is answered once the instance is complete.
  struct asker {
    caf::typed_response_promise<std::string> promise;
    std::chrono::steady_clock::time_point gives_up;
  };

  /// Takes a rank in. Another life of a rank replaces the one before, which is not taken in again.
  /// @returns `invalid_argument` or `incompatible_layout` for a rank that does not belong to this
  /// instance, `duplicate_request` for a life that was replaced.
  [[nodiscard]] expected<> enlist(rank_info info);

  rank_layout first; ///< of rank 0, which the others must match
  std::vector<std::optional<rank_info>> ranks;
  std::vector<member_actor> members; ///< by rank; null if it cannot be asked
  std::deque<incarnation> replaced; ///< the last lives that were
  std::deque<asker> waiting;        ///< longest first

  std::optional<agreement_host> agreement;

  /// Whether this is the present life of a rank.
  [[nodiscard]] bool knows(std::uint32_t rank, incarnation life) const noexcept;
  [[nodiscard]] bool complete() const noexcept;
  [[nodiscard]] std::string describe() const;
  void answer_waiting();
};

using directory_actor = caf::typed_actor<
    // Takes an encoded `rank_info`.
    caf::reacts_to<atom::enlist, std::string>,
    // Answers the encoded `instance_info` once all ranks are enlisted.
    caf::replies_to<atom::describe>::with<std::string>,
    // Takes an encoded `agreement_vote`; the verdict goes to the sender, a `member_actor`.
    caf::reacts_to<atom::agree, std::string>,
    // Collects tickets, see `door_actor`.
    caf::replies_to<atom::collect, std::uint32_t, std::uint64_t, std::uint64_t>::with<std::string>,
    // INTERNAL: time to look who is late.
    caf::reacts_to<atom::sweep>>;

directory_actor::behavior_type directory(directory_actor::stateful_pointer<directory_state> self,
                                         rank_layout first, transceiver_options options);

} // namespace baton
