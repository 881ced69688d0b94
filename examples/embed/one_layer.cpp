#include "examples/embed/one_layer.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>
#include <vector>

#include "examples/support/value_of.hpp"

namespace embed {
namespace {

using namespace baton;
using baton::examples::value_of;

constexpr std::uint32_t tokens = 16;
constexpr std::uint32_t heads = 2;
constexpr std::uint32_t dims = 64;
constexpr std::uint64_t row = dims * 2;               // bytes of one (head, token)
constexpr std::uint64_t inner = row * tokens * heads; // bytes of one role in one slot
constexpr std::byte answer{42};

buffer_layout buffer(cache_role role, std::uint64_t offset) {
  buffer_layout view;
  view.role = role;
  view.offset = offset;
  view.slot_stride = 2 * inner;
  view.head_count = view.total_heads = heads;
  view.head_stride = row * tokens;
  view.token_stride = row;
  view.head_dim = dims;
  return view;
}

} // namespace

rank_layout one_layer(instance_role role) {
  rank_layout layout;
  layout.instance = role == instance_role::context ? "prefill-0" : "decode-0";
  layout.life = random_id<incarnation>();
  layout.role = role;
  layout.model = "one-layer";
  layout.pools = {{memory_kind::host, 0, {}, 2 * inner, 32}};
  layout.groups = {
      {"full", tokens, 0, {buffer(cache_role::key, 0), buffer(cache_role::value, inner)}}};
  return layout;
}

rank::rank(instance_role role) : layout_{one_layer(role)} {
  std::vector<host_pool> pools;
  pools.push_back(value_of(host_pool::create(layout_.pools[0].bytes())));
  plane_ = value_of(rank_plane::create(layout_.life, layout_, std::move(pools)));
  transceiver_ =
      std::make_unique<transceiver>(value_of(transceiver::start(system_, layout_, plane_, {})));
}

void rank::fill(std::size_t slot, std::byte byte) {
  std::ranges::fill_n(plane_->pool(0).data() + slot * 2 * inner, 2 * inner, byte);
}

bool rank::holds(std::size_t slot, std::byte byte) const {
  const auto* data = plane_->pool(0).data() + slot * 2 * inner;
  return std::all_of(data, data + 2 * inner, [&](std::byte b) { return b == byte; });
}

send_slice prefill(rank& context) {
  for (const std::size_t slot : {5u, 9u})
    context.fill(slot, answer);
  send_slice slice;
  slice.request = request_id{7};
  slice.tokens = {0, 20};
  slice.blocks = {{"full", 0, {5, 9}}};
  slice.aux = aux_data{{1234}, {}, {}}; // the first new token
  return slice;
}

receive_request wish(disaggregated_params params) {
  receive_request request;
  request.request = request_id{7};
  request.context = std::move(params);
  request.tokens = 20;
  request.blocks = {{"full", 0, {2, 3}}};
  request.timeout = std::chrono::seconds{5};
  return request;
}

int report(const rank& generation, const outcome& result) {
  if (!result.completed())
    return report(*result.failure);
  // Slot 3 holds 4 tokens of the request; what lies behind them is nobody's.
  if (!generation.holds(2, answer))
    return std::puts("the bytes are wrong"), 1;
  std::printf("%zu bytes by the %s lane, first token %d\n", static_cast<std::size_t>(result.bytes),
              to_string(result.sources.at(0).lane.lane).data(), result.aux->first_tokens.at(0));
  return 0;
}

int report(const error& reason) {
  std::puts(to_string(reason).c_str());
  return 1;
}

} // namespace embed
