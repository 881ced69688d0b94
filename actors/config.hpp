#pragma once

#include <caf/actor_system_config.hpp>

namespace baton {

/// Registers baton's message types and error category with a host's own config, before the actor
/// system is made. Enough for actors that need no network and no thread of their own: ranks that
/// find each other's doors in a table (`rank_context::local_door`), on a scheduler of the host's.
void register_types(caf::actor_system_config& config);

/// `register_types`, plus the network module and the heartbeats that every node needs (1 s, cut off
/// after 5 s). What a `transceiver` asks for.
void configure(caf::actor_system_config& config);

/// A config for hosts that have no own: `configure` plus the scheduler that has the lowest latency
/// (`scheduler.policy=sharing`).
class actor_config : public caf::actor_system_config {
public:
  actor_config();
};

} // namespace baton
