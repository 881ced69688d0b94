#include "actors/middleman.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <caf/io/basp_broker.hpp>

namespace baton {
namespace {

class patient_broker final : public caf::io::basp_broker {
public:
  using basp_broker::basp_broker;

  caf::behavior make_behavior() override {
    auto inherited = basp_broker::make_behavior();
    const caf::message_handler first{
        [this, inherited](caf::connect_atom connect, const caf::io::scribe_ptr& made,
                          std::uint16_t port) mutable {
          ctx[made->hdl()].last_seen = clock().now();
          auto message = caf::make_message(connect, made, port);
          inherited(message);
        },
        [this, inherited](const caf::io::new_connection_msg& accepted) mutable {
          set_context(accepted.handle);
          auto message = caf::make_message(accepted);
          inherited(message);
        }};
    return first.or_else(inherited);
  }
};

} // namespace

caf::actor_system::module* middleman::make(caf::actor_system& system, caf::detail::type_list<>) {
  return new middleman{system};
}

middleman::middleman(caf::actor_system& system) : caf::io::middleman{system}, backend_{&system} {
}

/// The first broker of a name stays.
void middleman::start() {
  static_cast<void>(named_broker<patient_broker>(caf::atom("BASP")));
  caf::io::middleman::start();
}

} // namespace baton
