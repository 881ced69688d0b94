#pragma once

#include <caf/actor_system_config.hpp>

namespace baton {

/// Registers baton's message types and error category with a host's own config, loads the network
/// module, and sets the heartbeats that every node needs (1 s, cut off after 5 s). Call before the
/// actor system is made.
void configure(caf::actor_system_config& config);

/// A config for hosts that have no own: `configure` plus the scheduler that has the lowest latency
/// (`scheduler.policy=sharing`).
class actor_config : public caf::actor_system_config {
public:
  actor_config();
};

} // namespace baton
