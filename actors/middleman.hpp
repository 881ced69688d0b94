#pragma once

#include <caf/io/middleman.hpp>
#include <caf/io/network/default_multiplexer.hpp>

namespace baton {

/// CAF's network module, with a broker that mends what CAF 0.17.6 does to connections:
///
/// - One that this side opens counts as silent since the epoch, so it is cut at the next heartbeat
///   unless the peer has answered by then. When both are due in one turn of the event loop, the
///   connection and its socket are never freed. Here it has `middleman.connection-timeout`.
/// - One that others open stays for ever if they say nothing. Here it has the same time.
/// - A handle is a descriptor, so a new connection may have that of one whose end still waits for
///   its last messages to be read. Then what is meant for the old peer goes to the new one, and the
///   end of the old one takes the new one's routes. Here the old one ends first.
/// - A heartbeat that is due while the system ends keeps the broker for ever. Here it is freed.
class middleman : public caf::io::middleman {
public:
  static caf::actor_system::module* make(caf::actor_system& system, caf::detail::type_list<> = {}) {
    return make(system, caf::detail::type_list<caf::io::network::default_multiplexer>{});
  }

  /// @tparam Backend  the multiplexer, as of `caf::io::middleman::make`.
  template <class Backend>
  static caf::actor_system::module* make(caf::actor_system& system,
                                         caf::detail::type_list<Backend>) {
    class on_backend final : public middleman {
    public:
      explicit on_backend(caf::actor_system& system) : middleman{system}, backend_{&system} {}
      caf::io::network::multiplexer& backend() override { return backend_; }

    private:
      Backend backend_;
    };
    return new on_backend{system};
  }

  void start() override;

protected:
  using caf::io::middleman::middleman;
};

} // namespace baton
