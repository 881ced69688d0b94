#pragma once

#include <cstdint>

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
/// (`scheduler.policy=sharing`, few threads). Hosts whose own actors block or compute set
/// `scheduler.max-threads` higher.
class actor_config : public caf::actor_system_config {
public:
  /// baton's actors never block. With a thread per core each message wakes one that has slept for
  /// long: on 16 cores the handoff of one block took twice as long as with 2 threads.
  static constexpr std::int64_t threads = 2;

  actor_config();
};

} // namespace baton
