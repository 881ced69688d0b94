// ctx_first: the context side computes and offers, the generation side asks, and both look in their
// loops for what has ended.
#include "examples/embed/one_layer.hpp"

int main() {
  using namespace baton;
  embed::rank context{instance_role::context};
  embed::rank generation{instance_role::generation};

  if (auto offered = context->respond_and_send_async(embed::prefill(context)); !offered)
    return embed::report(offered.error());

  const auto params = context->get_disaggregated_params();
  if (auto asked = generation->request_and_receive_async(embed::wish(params)); !asked)
    return embed::report(asked.error());

  // Each step of a loop that has other work takes what there is: check_gen_transfer_status(0). This
  // one has none, so it waits for one.
  for (const auto& sent : context->check_context_transfer_status(1))
    if (!sent.completed())
      return embed::report(*sent.failure);
  // Now slots 5 and 9 of the context side are free again.
  return embed::report(generation, generation->check_gen_transfer_status(1).at(0));
}
