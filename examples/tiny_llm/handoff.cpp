#include "examples/tiny_llm/handoff.hpp"

#include <chrono>
#include <stdexcept>
#include <utility>

#include "examples/support/value_of.hpp"

namespace tiny_llm {

namespace {

using baton::examples::value_of;

constexpr std::chrono::seconds request_timeout{5};

baton::outcome completed(baton::outcome result) {
  if (!result.completed())
    throw std::runtime_error{to_string(result.failure.value_or(baton::error{}))};
  return result;
}

std::shared_ptr<baton::rank_plane> make_plane(const baton::rank_layout& layout,
                                              baton::lane_policy lanes) {
  std::vector<baton::host_pool> pools;
  for (const auto& pool : layout.pools)
    pools.push_back(value_of(baton::host_pool::create(pool.bytes())));
  baton::plane_options options;
  options.lanes = lanes;
  return value_of(
      baton::rank_plane::create(layout.life, layout, std::move(pools), std::move(options)));
}

baton::rank_layout with_new_life(baton::rank_layout layout) {
  layout.life = baton::random_id<baton::incarnation>();
  return layout;
}

} // namespace

handoff::handoff(baton::rank_layout layout, baton::lane_policy lanes, std::string directory)
    : layout_{with_new_life(std::move(layout))},
      plane_{make_plane(layout_, lanes)},
      system_{config_},
      transceiver_{value_of(baton::transceiver::start(system_, layout_, plane_,
                                                      {.directory = std::move(directory)}))} {
}

baton::outcome handoff::give(baton::request_id request, std::uint32_t tokens,
                             const paged_cache& cache, std::int32_t first_token) {
  baton::aux_data aux;
  aux.first_tokens = {first_token};
  const auto offered = transceiver_.respond_and_send_async({
      .request = request,
      .tokens = {0, tokens},
      .blocks = cache.blocks(tokens),
      .aux = std::move(aux),
      .timeout = request_timeout,
  });
  if (!offered)
    throw std::runtime_error{to_string(offered.error())};
  auto ended = transceiver_.check_context_transfer_status(std::nullopt);
  return completed(std::move(ended.at(0)));
}

baton::outcome handoff::take(baton::request_id request, std::uint32_t tokens,
                             const paged_cache& cache, std::string context) {
  return completed(transceiver_.request_and_receive_sync({
      .request = request,
      .context = {.endpoint = std::move(context)},
      .tokens = tokens,
      .blocks = cache.blocks(tokens),
      .timeout = request_timeout,
  }));
}

} // namespace tiny_llm
