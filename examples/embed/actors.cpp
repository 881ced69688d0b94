// The other door: an engine that is made of actors asks the transceiver actor, and never blocks.
#include <cstdio>

#include <caf/all.hpp>

#include "actors/actors.hpp"
#include "actors/caf_error.hpp"
#include "baton.hpp"
#include "examples/embed/one_layer.hpp"

namespace {

/// A decode engine: asks for a request's cache, and goes on when it is there.
void decode(caf::event_based_actor* self, baton::transceiver_actor transceiver,
            baton::receive_request wish) {
  self->request(transceiver, caf::infinite, baton::atom::receive_v, std::move(wish))
      .then(
          [](const baton::outcome& result) {
            std::printf("request %llu ended as %s\n",
                        static_cast<unsigned long long>(result.request.value),
                        to_string(result.state).data());
          },
          [](const caf::error& err) {
            std::puts(to_string(baton::from_caf(err, "receive")).c_str());
          });
}

} // namespace

int main() {
  using namespace baton;
  actor_config context_config, generation_config;
  caf::actor_system context_system{context_config}, generation_system{generation_config};
  const auto context_layout = embed::one_layer(instance_role::context);
  const auto generation_layout = embed::one_layer(instance_role::generation);
  auto context =
      transceiver::start(context_system, context_layout, embed::plane(context_layout), {});
  auto generation =
      transceiver::start(generation_system, generation_layout, embed::plane(generation_layout), {});
  if (!context || !generation)
    return 1;

  receive_request wish;
  wish.request = request_id{7};
  wish.context = context->get_disaggregated_params();
  wish.tokens = 20;
  wish.blocks = {{"full", 0, {2, 3}}};
  const auto engine =
      generation_system.spawn(decode, actor_access::of(*generation), std::move(wish));

  send_slice slice;
  slice.request = request_id{7};
  slice.tokens = {0, 20};
  slice.blocks = {{"full", 0, {5, 9}}};
  caf::anon_send(actor_access::of(*context), atom::offer_v, std::move(slice));

  caf::scoped_actor {
    generation_system
    } -> wait_for(engine);
  return generation->state_of(request_id{7}) == request_state::generation_trans_complete ? 0 : 1;
}
