// gen_first1: the context side prepares a request, and computes it only when the generation side
// has asked for it.
#include "examples/embed/one_layer.hpp"

int main() {
  using namespace baton;
  embed::rank context{instance_role::context};
  embed::rank generation{instance_role::generation};

  // The request waits for the generation side as CONTEXT_WAIT_SCHEDULER.
  auto answer = context->prepare_context_requests({{request_id{7}, std::chrono::seconds{5}}});
  if (!answer.refused.empty())
    return embed::report(answer.refused[0].reason);

  const auto params = context->get_disaggregated_params();
  if (auto asked = generation->request_and_receive_async(embed::wish(params)); !asked)
    return embed::report(asked.error());

  // Each step of the context side's loop: what is ready is computed and offered, what failed is
  // reported by the status call.
  while (answer.ready.empty()) {
    for (const auto& ended : context->check_context_transfer_status())
      return embed::report(*ended.failure);
    answer = context->prepare_context_requests();
  }
  if (auto offered = context->respond_and_send_async(embed::prefill(context)); !offered)
    return embed::report(offered.error());
  return embed::report(generation, generation->check_gen_transfer_status(1).at(0));
}
