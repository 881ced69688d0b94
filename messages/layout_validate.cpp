#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "messages/layout.hpp"
#include "messages/layout_check.hpp"

namespace baton {
namespace {

using uint128 = unsigned __int128;

template <class Enum>
bool outside(Enum value, Enum first, Enum last) {
  return value < first || value > last;
}

expected<> check_topology(const rank_layout& layout) {
  if (auto ok = check_name("instance", layout.instance); !ok)
    return ok;
  if (auto ok = check_name("model", layout.model); !ok)
    return ok;
  if (outside(layout.role, instance_role::context, instance_role::generation))
    return refuse("role: {} is no instance role", static_cast<unsigned>(layout.role));
  if (layout.tp_size == 0)
    return refuse("tp_size: must not be 0");
  if (layout.pp_size == 0)
    return refuse("pp_size: must not be 0");
  if (std::uint64_t{layout.tp_size} * layout.pp_size > layout_limits::ranks)
    return refuse("tp_size * pp_size: {} * {} exceeds {} ranks", layout.tp_size, layout.pp_size,
                  layout_limits::ranks);
  if (layout.rank >= layout.ranks())
    return refuse("rank: {} is not below tp_size * pp_size = {}", layout.rank, layout.ranks());
  return {};
}

expected<> check_counts(const rank_layout& layout) {
  if (layout.pools.empty() || layout.pools.size() > layout_limits::pools)
    return refuse("pools: {} given, must be 1 to {}", layout.pools.size(), layout_limits::pools);
  if (layout.groups.empty() || layout.groups.size() > layout_limits::groups)
    return refuse("groups: {} given, must be 1 to {}", layout.groups.size(), layout_limits::groups);
  std::size_t buffers = 0;
  for (const auto& group : layout.groups)
    buffers += group.buffers.size();
  if (buffers > layout_limits::buffers)
    return refuse("groups: {} buffers in all exceed {}", buffers, layout_limits::buffers);
  return {};
}

expected<> check_device(const pool_layout& pool, std::size_t index) {
  if (outside(pool.kind, memory_kind::host, memory_kind::cuda))
    return refuse("pools[{}].kind: {} is no memory kind", index, static_cast<unsigned>(pool.kind));
  if (pool.kind == memory_kind::host) {
    if (pool.device != 0)
      return refuse("pools[{}].device: must be 0 for a host pool, is {}", index, pool.device);
    if (!pool.device_uuid.empty())
      return refuse("pools[{}].device_uuid: must be empty for a host pool", index);
    return {};
  }
  if (auto ok = check_name("device_uuid", pool.device_uuid); !ok)
    return refuse("pools[{}].{}", index, ok.error().text);
  return {};
}

expected<> check_pool(const pool_layout& pool, std::size_t index) {
  if (pool.slot_bytes == 0)
    return refuse("pools[{}].slot_bytes: must not be 0", index);
  if (pool.slots == 0 || pool.slots > layout_limits::slots)
    return refuse("pools[{}].slots: {} given, must be 1 to {}", index, pool.slots,
                  layout_limits::slots);
  if (uint128{pool.slot_bytes} * pool.slots > layout_limits::pool_bytes)
    return refuse("pools[{}].slot_bytes: {} slots of {} bytes exceed {} bytes", index, pool.slots,
                  pool.slot_bytes, layout_limits::pool_bytes);
  return check_device(pool, index);
}

/// Checks that the strided view stays in its pool, and that neighbours on one axis do not overlap.
/// Axes are added one by one, so that the text can name the one that is too wide.
expected<> check_extent(buffer_field field, const buffer_layout& buffer, const pool_layout& pool,
                        std::uint32_t tokens) {
  struct named_axis {
    std::string_view name;
    std::uint64_t count;
    std::uint64_t stride;
  };
  const named_axis axes[] = {{"token_stride", tokens, buffer.token_stride},
                             {"head_stride", buffer.head_count, buffer.head_stride},
                             {"slot_stride", pool.slots, buffer.slot_stride}};
  uint128 end = uint128{buffer.offset} + buffer.row_bytes();
  if (end > pool.bytes())
    return refuse("{}.offset: {} bytes at {} overrun pools[{}] of {} bytes", field,
                  buffer.row_bytes(), buffer.offset, buffer.pool, pool.bytes());
  for (const auto& axis : axes) {
    if (axis.count > 1 && axis.stride < buffer.row_bytes())
      return refuse("{}.{}: {} is less than the {} bytes of one head and token, so they overlap",
                    field, axis.name, axis.stride, buffer.row_bytes());
    end += uint128{axis.count - 1} * axis.stride;
    if (end > pool.bytes())
      return refuse("{}.{}: {} steps of {} bytes from offset {} overrun pools[{}] of {} bytes",
                    field, axis.name, axis.count - 1, axis.stride, buffer.offset, buffer.pool,
                    pool.bytes());
  }
  return {};
}

expected<> check_heads(buffer_field field, const buffer_layout& buffer) {
  if (buffer.total_heads == 0)
    return refuse("{}.total_heads: must not be 0", field);
  if (buffer.head_count == 0)
    return refuse("{}.head_count: must not be 0", field);
  if (std::uint64_t{buffer.first_head} + buffer.head_count > buffer.total_heads)
    return refuse("{}.head_count: {} heads from {} on exceed total_heads = {}", field,
                  buffer.head_count, buffer.first_head, buffer.total_heads);
  if (buffer.head_dim == 0)
    return refuse("{}.head_dim: must not be 0", field);
  return {};
}

expected<> check_buffer(buffer_field field, const buffer_layout& buffer, const rank_layout& layout,
                        std::uint32_t tokens) {
  if (outside(buffer.role, cache_role::key, last_cache_role))
    return refuse("{}.role: {} is no cache role", field, static_cast<unsigned>(buffer.role));
  if (buffer.section != 0 && buffer.role != cache_role::conv)
    return refuse("{}.section: must be 0 for {}, is {}; only conv has sections", field,
                  to_string(buffer.role), buffer.section);
  if (buffer.section >= layout_limits::sections)
    return refuse("{}.section: {} given, must be below {}", field, buffer.section,
                  layout_limits::sections);
  if (outside(buffer.type, element_type::fp32, last_element_type))
    return refuse("{}.type: {} is no element type", field, static_cast<unsigned>(buffer.type));
  if (buffer.pool >= layout.pools.size())
    return refuse("{}.pool: {} given, but there are only {} pools", field, buffer.pool,
                  layout.pools.size());
  if (auto ok = check_heads(field, buffer); !ok)
    return ok;
  if (auto ok = check_scales(field, buffer); !ok)
    return ok;
  return check_extent(field, buffer, layout.pools[buffer.pool], tokens);
}

expected<> check_group(const rank_layout& layout, std::size_t index) {
  const auto& group = layout.groups[index];
  if (auto ok = check_name("name", group.name); !ok)
    return refuse("groups[{}].{}", index, ok.error().text);
  if (group.is_state() && group.window != 0)
    return refuse("groups[{}].window: must be 0 for state (tokens_per_block 0), is {}", index,
                  group.window);
  if (group.buffers.empty())
    return refuse("groups[{}].buffers: must not be empty", index);
  for (std::size_t i = 0; i < group.buffers.size(); ++i) {
    const buffer_field field{index, i};
    if (auto ok = check_buffer(field, group.buffers[i], layout, tokens_per_slot(group)); !ok)
      return ok;
    if (i > 0 && layer_key(group.buffers[i - 1]) > layer_key(group.buffers[i]))
      return refuse("{}.layer: buffers must be sorted by layer, role and section", field);
  }
  return {};
}

expected<> check_unique(const rank_layout& layout) {
  std::unordered_set<std::string_view> names;
  std::unordered_map<std::uint64_t, buffer_field> seen;
  for (std::size_t g = 0; g < layout.groups.size(); ++g) {
    const auto& group = layout.groups[g];
    if (!names.insert(group.name).second)
      return refuse("groups[{}].name: {} is given twice", g, group.name);
    for (std::size_t b = 0; b < group.buffers.size(); ++b) {
      const auto& buffer = group.buffers[b];
      const buffer_field field{g, b};
      const auto [first, added] = seen.emplace(layer_key(buffer), field);
      if (!added)
        return refuse("{}.layer: {} is given in {} already", field, describe(buffer),
                      first->second);
    }
  }
  return {};
}

} // namespace

std::string describe(const buffer_layout& buffer) {
  auto text = fmt::format("layer {} {}", buffer.layer, to_string(buffer.role));
  if (buffer.section != 0)
    text += fmt::format(" section {}", buffer.section);
  return text;
}

expected<> check_name(std::string_view field, std::string_view name) {
  if (name.empty())
    return refuse("{}: must not be empty", field);
  if (name.size() > layout_limits::name_bytes)
    return refuse("{}: {} bytes exceed {}", field, name.size(), layout_limits::name_bytes);
  return {};
}

expected<> validate(const rank_layout& layout, std::size_t& work) {
  if (auto ok = check_topology(layout); !ok)
    return ok;
  if (auto ok = check_counts(layout); !ok)
    return ok;
  for (std::size_t i = 0; i < layout.pools.size(); ++i)
    if (auto ok = check_pool(layout.pools[i], i); !ok)
      return ok;
  for (std::size_t i = 0; i < layout.groups.size(); ++i)
    if (auto ok = check_group(layout, i); !ok)
      return ok;
  if (auto ok = check_unique(layout); !ok)
    return ok;
  const std::size_t share = std::min(work, layout_work);
  std::size_t left = share;
  auto ok = check_overlaps(layout, left);
  work -= share - left;
  return ok;
}

expected<> validate(const rank_layout& layout) {
  std::size_t work = layout_work;
  return validate(layout, work);
}

} // namespace baton
