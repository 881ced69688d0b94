#pragma once

#include <cstdint>
#include <string>

#include <caf/actor_system.hpp>
#include <caf/io/middleman_actor.hpp>

#include "actors/actors.hpp"
#include "messages/error.hpp"

// Internal to actors/: how the ranks of a system use the network, with TLS or without.

namespace baton {

/// Whether the system's ranks speak TLS.
[[nodiscard]] bool has_tls(const caf::actor_system& system);

/// Refuses a system that would speak TLS with whoever comes: CAF's module without all three files.
[[nodiscard]] expected<> check_tls(const caf::actor_system& system);

/// Who connects to other nodes.
[[nodiscard]] caf::io::middleman_actor connector_of(caf::actor_system& system);

[[nodiscard]] caf::expected<std::uint16_t>
publish_door(const door_actor& door, const std::string& host, std::uint16_t port);

} // namespace baton
