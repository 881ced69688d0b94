// The facade: one context and one generation rank of a model with one layer, both in this process.
// In an engine each rank is a process of its own and runs one half of this.
#include <cstdio>
#include <cstring>

#include <caf/actor_system.hpp>

#include "baton.hpp"
#include "examples/embed/one_layer.hpp"

int main() {
  using namespace baton;
  // One actor system a rank; a host that has one uses its own, after baton::configure(config).
  actor_config context_config, generation_config;
  caf::actor_system context_system{context_config}, generation_system{generation_config};

  // The pools are baton's here; an engine registers its own memory with host_pool::adopt.
  const auto context_layout = embed::one_layer(instance_role::context);
  const auto generation_layout = embed::one_layer(instance_role::generation);
  const auto context_plane = embed::plane(context_layout);
  const auto generation_plane = embed::plane(generation_layout);

  auto context = transceiver::start(context_system, context_layout, context_plane, {});
  auto generation = transceiver::start(generation_system, generation_layout, generation_plane, {});
  if (!context || !generation)
    return 1;

  // Prefill: the request's 20 tokens lie in slots 5 and 9. Offer them; go on with other work.
  std::memset(context_plane->pool(0).data(), 42, context_plane->pool(0).size());
  send_slice slice;
  slice.request = request_id{7};
  slice.tokens = {0, 20};
  slice.blocks = {{"full", 0, {5, 9}}};
  slice.aux = aux_data{{1234}, {}, {}}; // the first generated token
  if (auto offered = context->respond_and_send_async(std::move(slice)); !offered)
    return std::puts(to_string(offered.error()).c_str()), 1;

  // Decode: the router brought the request and the context side's parameters. Wait for the cache.
  receive_request wish;
  wish.request = request_id{7};
  wish.context = context->get_disaggregated_params();
  wish.tokens = 20;
  wish.blocks = {{"full", 0, {2, 3}}};
  wish.timeout = std::chrono::seconds{5};
  const auto result = generation->request_and_receive_sync(std::move(wish));
  if (!result.completed())
    return std::puts(to_string(*result.failure).c_str()), 1;

  std::printf("%zu bytes by the %s lane, first token %d\n", static_cast<std::size_t>(result.bytes),
              to_string(result.sources.at(0).lane.lane).data(), result.aux->first_tokens.at(0));
  return 0;
}
