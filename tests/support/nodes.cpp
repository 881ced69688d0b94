#include "tests/support/nodes.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <thread>

namespace baton::test {
namespace {

using namespace std::chrono_literals;

template <class T>
T value_of(expected<T> result) {
  if (!result)
    throw std::runtime_error{to_string(result.error())};
  return std::move(*result);
}

std::shared_ptr<rank_plane> make_plane(const rank_layout& layout, plane_options lanes) {
  std::vector<host_pool> pools;
  for (const auto& pool : layout.pools)
    pools.push_back(value_of(host_pool::create(pool.bytes())));
  return value_of(rank_plane::create(layout.life, layout, std::move(pools), std::move(lanes)));
}

rank_layout with_life(rank_layout layout) {
  layout.life = random_id<incarnation>();
  return layout;
}

std::vector<std::uint32_t> blocks_from(std::uint32_t first, std::uint32_t tokens,
                                       std::uint32_t per_block) {
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t token = 0; token < tokens; token += per_block)
    blocks.push_back(first++);
  return blocks;
}

std::size_t entries(const char* folder) {
  const std::filesystem::directory_iterator all{folder};
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

} // namespace

node::node(rank_layout layout, std::string directory, transceiver_options options,
           plane_options lanes)
    : layout_{with_life(std::move(layout))}, plane_{make_plane(layout_, std::move(lanes))} {
  rank_endpoint endpoint;
  endpoint.directory = std::move(directory);
  transceiver_ = std::make_unique<transceiver>(value_of(
      transceiver::start(system_, layout_, plane_, std::move(endpoint), std::move(options))));
}

void node::fill(std::uint32_t block, std::uint8_t byte) {
  const auto bytes = layout_.pools[0].slot_bytes;
  std::memset(plane_->pool(0).data() + block * bytes, byte, bytes);
}

bool node::holds(std::uint32_t block, std::uint8_t byte) const {
  const auto bytes = layout_.pools[0].slot_bytes;
  const auto* data = plane_->pool(0).data() + block * bytes;
  return std::all_of(data, data + bytes, [&](std::byte b) { return b == std::byte{byte}; });
}

deployment::shape::shape() {
  model.kv_heads = 2;
  model.head_dim = 8;
  context.tokens_per_block = generation.tokens_per_block = 4;
  context.blocks = generation.blocks = 64;
}

deployment::deployment() : deployment{shape{}} {
}

deployment::deployment(shape form) {
  const auto build = [&](auto& nodes, const handoff::side_spec& side, instance_role role,
                         const char* name, const transceiver_options& options) {
    for (auto& layout : value_of(handoff::build_instance(form.model, side, role, name)))
      nodes.push_back(std::make_unique<node>(std::move(layout),
                                             nodes.empty() ? "" : nodes[0]->door().endpoint(),
                                             options, form.lanes));
  };
  build(contexts, form.context, instance_role::context, "c", form.context_options);
  build(generations, form.generation, instance_role::generation, "g", form.generation_options);
}

send_slice deployment::slice(std::uint64_t id, std::uint32_t first_block, std::uint32_t tokens,
                             std::chrono::milliseconds timeout) const {
  send_slice slice;
  slice.request = request_id{id};
  slice.tokens = {0, tokens};
  const auto per_block = contexts[0]->layout().groups[0].tokens_per_block;
  slice.blocks.push_back({"full", 0, blocks_from(first_block, tokens, per_block)});
  slice.timeout = timeout;
  return slice;
}

receive_request deployment::wish(std::uint64_t id, std::uint32_t first_block, std::uint32_t tokens,
                                 std::chrono::milliseconds timeout, std::uint32_t cached) {
  receive_request request;
  request.request = request_id{id};
  request.context = context().door().get_disaggregated_params();
  request.tokens = tokens;
  request.cached_tokens = cached;
  const auto per_block = generations[0]->layout().groups[0].tokens_per_block;
  request.blocks.push_back({"full", 0, blocks_from(first_block, tokens, per_block)});
  request.timeout = timeout;
  return request;
}

std::string deployment::leftovers() {
  const auto until = std::chrono::steady_clock::now() + 5s;
  std::string left;
  do {
    left.clear();
    for (auto* side : {&contexts, &generations})
      for (auto& rank : *side) {
        const auto counts = rank->door().stats();
        if (counts.live_sends + counts.live_receives + counts.sessions + counts.early_requests +
                counts.waiting_callers + counts.leases_granted !=
            0)
          left += fmt::format("{} {}: {} sends, {} receives, {} sessions, {} early, {} callers, {} "
                              "leases\n",
                              rank->layout().instance, rank->layout().rank, counts.live_sends,
                              counts.live_receives, counts.sessions, counts.early_requests,
                              counts.waiting_callers, counts.leases_granted);
      }
    if (!left.empty())
      std::this_thread::sleep_for(2ms);
  } while (!left.empty() && std::chrono::steady_clock::now() < until);
  return left;
}

footprint measure() {
  return {entries("/proc/self/task"), entries("/proc/self/fd")};
}

} // namespace baton::test
