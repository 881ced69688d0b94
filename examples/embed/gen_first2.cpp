// gen_first2: the generation side asks before the context side knows the request. The question
// waits there, at most up to its deadline.
#include <thread>

#include "examples/embed/one_layer.hpp"

int main() {
  using namespace baton;
  embed::rank context{instance_role::context};
  embed::rank generation{instance_role::generation};

  const auto params = context->get_disaggregated_params();
  if (auto asked = generation->request_and_receive_async(embed::wish(params)); !asked)
    return embed::report(asked.error());
  // Here the question usually arrives first; if not, this ends as gen_first1.
  std::this_thread::sleep_for(std::chrono::milliseconds{100});

  auto answer = context->prepare_context_requests({{request_id{7}, std::chrono::seconds{5}}});
  if (!answer.refused.empty())
    return embed::report(answer.refused[0].reason);
  while (answer.ready.empty()) {
    for (const auto& ended : context->check_context_transfer_status())
      return embed::report(*ended.failure);
    answer = context->prepare_context_requests();
  }
  if (auto offered = context->respond_and_send_async(embed::prefill(context)); !offered)
    return embed::report(offered.error());
  return embed::report(generation, generation->check_gen_transfer_status(1).at(0));
}
