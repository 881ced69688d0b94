#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>

#include "actors/agreement_host.hpp"
#include "actors/instance_listing.hpp"
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

  std::optional<instance_listing> listing;
  std::vector<member_actor> members; ///< by rank; null if it cannot be asked
  std::deque<asker> waiting;         ///< longest first
  std::optional<agreement_host> agreement;

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
