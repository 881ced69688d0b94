// ctx_first_sync: the context side computes and offers, the generation side asks and waits.
#include "examples/embed/one_layer.hpp"

int main() {
  using namespace baton;
  embed::rank context{instance_role::context};
  embed::rank generation{instance_role::generation};

  // Prefill: offer the request's tokens, and go on with other work.
  if (auto offered = context->respond_and_send_async(embed::prefill(context)); !offered)
    return embed::report(offered.error());

  // Decode: the router brought the request and the context side's parameters. Wait for the cache.
  const auto params = context->get_disaggregated_params();
  return embed::report(generation, generation->request_and_receive_sync(embed::wish(params)));
}
