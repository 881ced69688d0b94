#include "actors/config.hpp"

#include "actors/middleman.hpp"
#include "actors/type_ids.hpp"

namespace baton {

void register_types(caf::actor_system_config& config) {
  config.add_message_types<caf::id_block::baton>();
  config.add_error_category(caf::atom("baton"),
                            [](std::uint8_t code, caf::atom_value, const caf::message& context) {
                              auto text = std::string{to_string(static_cast<errc>(code))};
                              return context.empty() ? text : text + ": " + caf::to_string(context);
                            });
}

void configure(caf::actor_system_config& config) {
  register_types(config);
  config.load<middleman>();
  config.set("middleman.heartbeat-interval", caf::timespan{std::chrono::seconds{1}});
  config.set("middleman.connection-timeout", caf::timespan{std::chrono::seconds{5}});
}

actor_config::actor_config() {
  configure(*this);
  set("scheduler.policy", caf::atom("sharing"));
  set("scheduler.max-threads", threads);
}

} // namespace baton
