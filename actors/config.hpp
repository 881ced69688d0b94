#pragma once

#include <cstdint>
#include <string>

#include <caf/actor_system_config.hpp>

#include "messages/error.hpp"

namespace baton {

/// Registers baton's message types and error category with a host's own config, before the actor
/// system is made. Enough for actors that need no network and no thread of their own: ranks that
/// find each other's doors in a table (`rank_context::local_door`), on a scheduler of the host's.
void register_types(caf::actor_system_config& config);

/// `register_types`, plus the network module (`middleman`, in place of CAF's own if that was loaded
/// before) and the heartbeats that every node needs (1 s, cut off after 5 s). What a `transceiver`
/// asks for.
void configure(caf::actor_system_config& config);

/// The files of mutual TLS on the control plane, in PEM. Whoever has a certificate that the
/// authority signed may be any rank: names in certificates say nothing. So give the deployment an
/// authority of its own.
struct tls_files {
  std::string certificate{}; ///< of this node, then those between it and the authority's, if any
  std::string key{};         ///< of the certificate, without a passphrase
  std::string authority{};   ///< certificates of those whose signature counts
};

/// Adds TLS to a config to which `configure` was applied, before the actor system is made: ranks of
/// this system are published, and reach others, by mutual TLS only. All nodes of both sides need
/// it.
///
/// @returns `invalid_argument` with the file that cannot be used, and OpenSSL's own words.
[[nodiscard]] expected<> configure_tls(caf::actor_system_config& config, const tls_files& files);

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
