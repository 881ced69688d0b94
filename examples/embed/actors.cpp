// The other door: an engine that is made of actors asks the transceiver actor, and never blocks.
#include <cstdio>

#include <caf/all.hpp>

#include "actors/actors.hpp"
#include "actors/caf_error.hpp"
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
  embed::rank context{instance_role::context};
  embed::rank generation{instance_role::generation};

  const auto engine = generation.system().spawn(decode, actor_access::of(*generation),
                                                embed::wish(context->get_disaggregated_params()));
  caf::anon_send(actor_access::of(*context), atom::offer_v, embed::prefill(context));

  caf::scoped_actor {
    generation.system()
    } -> wait_for(engine);
  return generation->state_of(request_id{7}) == request_state::generation_trans_complete ? 0 : 1;
}
