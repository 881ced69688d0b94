#include "examples/embed/one_layer.hpp"

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

std::shared_ptr<rank_plane> plane(const rank_layout& layout) {
  std::vector<host_pool> pools;
  pools.push_back(value_of(host_pool::create(layout.pools[0].bytes())));
  return value_of(rank_plane::create(layout.life, layout, std::move(pools)));
}

} // namespace embed
