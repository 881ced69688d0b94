#include "tests/support/nodes.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <thread>

#include "examples/support/value_of.hpp"
#include "gpu/device.hpp"
#include "gpu/stream.hpp"
#include "messages/params.hpp"

namespace baton::test {
namespace {

using namespace std::chrono_literals;
using examples::value_of;

std::shared_ptr<rank_plane> make_plane(const rank_layout& layout, plane_options lanes) {
  std::vector<memory_pool> pools;
  for (const auto& pool : layout.pools)
    if (pool.kind == memory_kind::cuda)
      pools.emplace_back(
          value_of(device_pool::create(static_cast<int>(pool.device), pool.bytes())));
    else
      pools.emplace_back(value_of(host_pool::create(pool.bytes())));
  return value_of(rank_plane::create(layout.life, layout, std::move(pools), std::move(lanes)));
}

rank_layout complete(rank_layout layout, int gpu) {
  layout.life = random_id<incarnation>();
  if (gpu >= 0)
    for (auto& pool : layout.pools) {
      pool.kind = memory_kind::cuda;
      pool.device = static_cast<std::uint32_t>(gpu);
      pool.device_uuid = value_of(describe_gpu(gpu)).uuid;
    }
  return layout;
}

void copy_block(std::byte* to, const std::byte* from, std::size_t bytes, memory_kind kind) {
  if (kind == memory_kind::host)
    std::memcpy(to, from, bytes);
  else if (auto copied = copy_now(to, from, bytes); !copied)
    throw std::runtime_error{to_string(copied.error())};
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

node::node_config::node_config(const tls_files& tls) {
  if (tls.certificate.empty())
    return;
  if (auto ok = configure_tls(*this, tls); !ok)
    throw std::runtime_error{to_string(ok.error())};
}

node::node(rank_layout layout, std::string directory, transceiver_options options,
           plane_options lanes, int gpu, std::uint16_t port, const tls_files& tls)
    : layout_{complete(std::move(layout), gpu)},
      config_{tls},
      plane_{make_plane(layout_, std::move(lanes))} {
  rank_endpoint endpoint;
  endpoint.directory = std::move(directory);
  endpoint.port = port;
  transceiver_ = std::make_unique<transceiver>(value_of(
      transceiver::start(system_, layout_, plane_, std::move(endpoint), std::move(options))));
}

void node::fill(std::uint32_t block, std::uint8_t byte) {
  const auto& pool = layout_.pools[0];
  const std::vector<std::byte> full(pool.slot_bytes, std::byte{byte});
  copy_block(plane_->pool(0).data() + block * full.size(), full.data(), full.size(), pool.kind);
}

bool node::holds(std::uint32_t block, std::uint8_t byte) const {
  const auto& pool = layout_.pools[0];
  std::vector<std::byte> copy(pool.slot_bytes);
  copy_block(copy.data(), plane_->pool(0).data() + block * copy.size(), copy.size(), pool.kind);
  return std::ranges::all_of(copy, [&](std::byte b) { return b == std::byte{byte}; });
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
                         const char* name, const transceiver_options& options, int gpu) {
    const bool context = role == instance_role::context;
    auto model = form.model;
    if (!context)
      model.type = form.generation_type.value_or(model.type);
    for (auto& layout : value_of(handoff::build_instance(model, side, role, name))) {
      if (!context)
        layout.model = contexts.front()->layout().model;
      if (!context && form.change_generation)
        form.change_generation(layout);
      nodes.push_back(std::make_unique<node>(std::move(layout),
                                             nodes.empty() ? "" : nodes[0]->door().endpoint(),
                                             options, form.lanes, gpu));
    }
  };
  build(contexts, form.context, instance_role::context, "c", form.context_options,
        form.context_gpu);
  build(generations, form.generation, instance_role::generation, "g", form.generation_options,
        form.generation_gpu);
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
  request.context = value_of(decode_params(encode(context().door().get_disaggregated_params())));
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
