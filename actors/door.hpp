#pragma once

#include "actors/directory.hpp"
#include "actors/rank_context.hpp"

namespace baton {

struct door_state {
  static inline const char* name = "baton.door";
};

/// The actor that a rank publishes: passes each question on to whom it concerns, and lets nothing
/// else in. `listing` is null on all ranks but rank 0.
door_actor::behavior_type door(door_actor::stateful_pointer<door_state> self, rank_context_ptr rank,
                               transceiver_actor owner, directory_actor listing);

} // namespace baton
