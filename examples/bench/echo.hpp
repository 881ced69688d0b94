#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>

namespace baton::bench {

/// Spawns an actor that sends every text back. It lives until told to exit.
[[nodiscard]] caf::actor spawn_echo(caf::actor_system& system);

/// Measures bare round trips to an echo actor, one after the other.
///
/// @param bytes of the text that goes there and back.
/// @returns microseconds of each.
/// @throws std::runtime_error when an answer fails to come.
[[nodiscard]] std::vector<double> ping_blocking(caf::actor_system& system, const caf::actor& echo,
                                                std::size_t count, std::size_t bytes);

/// The same from an event-based actor, which takes no thread of its own to wait.
[[nodiscard]] std::vector<double> ping_with_events(caf::actor_system& system,
                                                   const caf::actor& echo, std::size_t count,
                                                   std::size_t bytes);

} // namespace baton::bench
