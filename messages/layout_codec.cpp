#include "messages/layout_codec.hpp"

#include "messages/codec.hpp"
#include "messages/layout_check.hpp"

namespace baton {

static_assert(wire::CacheRole_MAX == static_cast<int>(last_cache_role));
static_assert(wire::ElementType_MAX == static_cast<int>(last_element_type));
static_assert(wire::MemoryKind_MAX == static_cast<int>(memory_kind::cuda));
static_assert(wire::InstanceRole_MAX == static_cast<int>(instance_role::generation));

void write(const pool_layout& pool, wire::PoolLayout& out) {
  out.set_kind(write_enum<wire::MemoryKind>(pool.kind));
  out.set_device(pool.device);
  out.set_device_uuid(pool.device_uuid);
  out.set_slot_bytes(pool.slot_bytes);
  out.set_slots(pool.slots);
}

pool_layout read(const wire::PoolLayout& in) {
  return {.kind = read_enum<memory_kind>(in.kind()),
          .device = in.device(),
          .device_uuid = in.device_uuid(),
          .slot_bytes = in.slot_bytes(),
          .slots = in.slots()};
}

namespace {

void write(const buffer_layout& buffer, wire::BufferLayout& out) {
  out.set_layer(buffer.layer);
  out.set_role(write_enum<wire::CacheRole>(buffer.role));
  out.set_pool(buffer.pool);
  out.set_offset(buffer.offset);
  out.set_slot_stride(buffer.slot_stride);
  out.set_first_head(buffer.first_head);
  out.set_head_count(buffer.head_count);
  out.set_total_heads(buffer.total_heads);
  out.set_head_stride(buffer.head_stride);
  out.set_token_stride(buffer.token_stride);
  out.set_head_dim(buffer.head_dim);
  out.set_type(write_enum<wire::ElementType>(buffer.type));
  out.set_section(buffer.section);
  out.mutable_scales()->Add(buffer.scales.begin(), buffer.scales.end());
}

buffer_layout read(const wire::BufferLayout& in) {
  return {.layer = in.layer(),
          .role = read_enum<cache_role>(in.role()),
          .pool = in.pool(),
          .offset = in.offset(),
          .slot_stride = in.slot_stride(),
          .first_head = in.first_head(),
          .head_count = in.head_count(),
          .total_heads = in.total_heads(),
          .head_stride = in.head_stride(),
          .token_stride = in.token_stride(),
          .head_dim = in.head_dim(),
          .type = read_enum<element_type>(in.type()),
          .section = in.section(),
          .scales = {in.scales().begin(), in.scales().end()}};
}

void write(const group_layout& group, wire::GroupLayout& out) {
  out.set_name(group.name);
  out.set_tokens_per_block(group.tokens_per_block);
  out.set_window(group.window);
  for (const auto& buffer : group.buffers)
    write(buffer, *out.add_buffers());
}

group_layout read(const wire::GroupLayout& in) {
  group_layout out{in.name(), in.tokens_per_block(), in.window(), {}};
  out.buffers.reserve(static_cast<std::size_t>(in.buffers_size()));
  for (const auto& buffer : in.buffers())
    out.buffers.push_back(read(buffer));
  return out;
}

} // namespace

void write(const rank_layout& layout, wire::RankLayout& out) {
  out.set_instance(layout.instance);
  out.set_life(layout.life.value);
  out.set_role(write_enum<wire::InstanceRole>(layout.role));
  out.set_rank(layout.rank);
  out.set_tp_size(layout.tp_size);
  out.set_pp_size(layout.pp_size);
  out.set_attention_dp(layout.attention_dp);
  out.set_model(layout.model);
  for (const auto& pool : layout.pools)
    write(pool, *out.add_pools());
  for (const auto& group : layout.groups)
    write(group, *out.add_groups());
}

rank_layout read(const wire::RankLayout& in) {
  rank_layout out{.instance = in.instance(),
                  .life = incarnation{in.life()},
                  .role = read_enum<instance_role>(in.role()),
                  .rank = in.rank(),
                  .tp_size = in.tp_size(),
                  .pp_size = in.pp_size(),
                  .attention_dp = in.attention_dp(),
                  .model = in.model(),
                  .pools = {},
                  .groups = {}};
  for (const auto& pool : in.pools())
    out.pools.push_back(read(pool));
  for (const auto& group : in.groups())
    out.groups.push_back(read(group));
  return out;
}

std::string encode(const rank_layout& layout) {
  wire::RankLayout out;
  write(layout, out);
  return out.SerializeAsString();
}

expected<rank_layout> decode_layout(std::string_view bytes) {
  const auto message =
      parse<wire::RankLayout>(bytes, layout_limits::encoded_bytes, "layout", layout_shape());
  if (!message)
    return fail(message.error());
  auto layout = read(*message);
  if (auto ok = validate(layout); !ok)
    return fail(std::move(ok).error());
  return layout;
}

std::uint64_t digest(std::span<const rank_layout> ranks) {
  std::uint64_t hash = 0xcbf29ce484222325;
  wire::RankLayout out;
  std::string bytes;
  for (const auto& rank : ranks) {
    out.Clear();
    write(rank, out);
    out.clear_life(); // a restarted rank has the same layout
    out.SerializeToString(&bytes);
    for (const char byte : bytes)
      hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  }
  return hash;
}

} // namespace baton
