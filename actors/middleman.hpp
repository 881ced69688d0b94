#pragma once

#include <caf/io/middleman.hpp>
#include <caf/io/network/default_multiplexer.hpp>

namespace baton {

/// CAF's network module, with a broker that gives a new connection as long to answer as any other
/// (`middleman.connection-timeout`).
///
/// The broker of CAF 0.17.6 takes a connection that it opens for one that has been silent since the
/// epoch, and cuts it at the next heartbeat unless the peer has answered by then. When both are due
/// in one turn of the event loop, the connection and its socket are never freed. A connection that
/// others open it leaves open for ever if they say nothing.
class middleman final : public caf::io::middleman {
public:
  static caf::actor_system::module* make(caf::actor_system& system, caf::detail::type_list<>);

  explicit middleman(caf::actor_system& system);

  void start() override;
  caf::io::network::multiplexer& backend() override { return backend_; }

private:
  caf::io::network::default_multiplexer backend_;
};

} // namespace baton
