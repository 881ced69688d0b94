#include "examples/handoff/layouts.hpp"

#include <algorithm>
#include <numeric>
#include <span>

namespace baton::handoff {

namespace {

using layer_span = std::span<const std::uint32_t>;

struct head_range {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

/// The share of tp rank `rank` of `total` heads; a head is replicated when there are more ranks
/// than heads.
head_range share(std::uint64_t total, std::uint64_t rank, std::uint64_t tp) {
  const auto first = rank * total / tp;
  const auto end = tp > total ? first + 1 : (rank + 1) * total / tp;
  return {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(end - first)};
}

/// Byte shards are never replicated; a rank's share may be empty.
head_range byte_share(std::uint64_t total, std::uint64_t rank, std::uint64_t tp) {
  const auto first = rank * total / tp;
  return {static_cast<std::uint32_t>(first),
          static_cast<std::uint32_t>((rank + 1) * total / tp - first)};
}

/// Lays buffers out in pools, one group at a time.
class packer {
public:
  packer(const side_spec& side, std::vector<pool_layout>& pools) : side_{side}, pools_{pools} {}

  /// Fills in pool, offset and strides of the group's buffers, which must be sorted by (layer,
  /// role).
  void place(group_layout& group) {
    const auto tokens = std::max(group.tokens_per_block, 1u);
    for (auto& buffer : group.buffers)
      set_inner(buffer, tokens);
    switch (side_.pool) {
    case pool_order::block_first:
      return place_together(group, false, tokens);
    case pool_order::layer_first:
      return place_together(group, true, tokens);
    case pool_order::tensor:
      return place_apart(group, tokens);
    }
  }

private:
  static std::uint64_t inner_bytes(const buffer_layout& buffer, std::uint32_t tokens) {
    return buffer.row_bytes() * buffer.head_count * tokens;
  }

  void set_inner(buffer_layout& buffer, std::uint32_t tokens) const {
    const auto row = buffer.row_bytes();
    const bool hnd = side_.inner == inner_order::hnd;
    buffer.head_stride = hnd ? row * tokens : row;
    buffer.token_stride = hnd ? row : row * buffer.head_count;
  }

  std::uint32_t add_pool(std::uint64_t slot_bytes) {
    auto& pool = pools_.emplace_back();
    pool.slot_bytes = slot_bytes;
    pool.slots = side_.blocks;
    return static_cast<std::uint32_t>(pools_.size() - 1);
  }

  void place_apart(group_layout& group, std::uint32_t tokens) {
    for (auto& buffer : group.buffers) {
      buffer.slot_stride = inner_bytes(buffer, tokens);
      buffer.pool = add_pool(buffer.slot_stride);
    }
  }

  /// One pool for the group. A slot is whole (block first), or one per layer (layer first).
  void place_together(group_layout& group, bool by_layer, std::uint32_t tokens) {
    std::uint64_t slot_bytes = 0;
    for (auto first = group.buffers.begin(); first != group.buffers.end();) {
      const auto last = by_layer ? std::find_if(first, group.buffers.end(),
                                                [&](const buffer_layout& buffer) {
                                                  return buffer.layer != first->layer;
                                                })
                                 : group.buffers.end();
      slot_bytes += place_slot({first, last}, slot_bytes * side_.blocks, tokens);
      first = last;
    }
    const auto pool = add_pool(slot_bytes);
    for (auto& buffer : group.buffers)
      buffer.pool = pool;
  }

  static std::uint64_t place_slot(std::span<buffer_layout> buffers, std::uint64_t start,
                                  std::uint32_t tokens) {
    std::uint64_t bytes = 0;
    for (auto& buffer : buffers) {
      buffer.offset = start + bytes;
      bytes += inner_bytes(buffer, tokens);
    }
    for (auto& buffer : buffers)
      buffer.slot_stride = bytes;
    return bytes;
  }

  const side_spec& side_;
  std::vector<pool_layout>& pools_;
};

std::vector<group_spec> attention_groups(const model_spec& model) {
  if (!model.groups.empty())
    return model.groups;
  group_spec full{"full", {}, 0};
  for (std::uint32_t layer = 0; layer < model.layers; ++layer)
    if (!model.state || std::ranges::count(model.state->layers, layer) == 0)
      full.layers.push_back(layer);
  return {full};
}

/// Those of `layers` that lie in `[first, end)`, ascending.
std::vector<std::uint32_t> held(layer_span layers, std::uint32_t first, std::uint32_t end) {
  std::vector<std::uint32_t> result;
  std::ranges::copy_if(layers, std::back_inserter(result),
                       [&](std::uint32_t layer) { return layer >= first && layer < end; });
  std::ranges::sort(result);
  return result;
}

void add_attention(group_layout& group, const model_spec& model, std::uint32_t layer,
                   std::uint32_t rank, std::uint32_t tp) {
  const auto heads = share(model.kv_heads, rank, tp);
  const auto add = [&](cache_role role) {
    group.buffers.push_back({.layer = layer,
                             .role = role,
                             .first_head = heads.first,
                             .head_count = heads.count,
                             .total_heads = model.kv_heads,
                             .head_dim = model.head_dim,
                             .type = model.type});
  };
  if (model.mla)
    return add(cache_role::latent);
  add(cache_role::key);
  add(cache_role::value);
}

void add_state(group_layout& group, const state_spec& state, std::uint32_t layer,
               std::uint32_t rank, std::uint32_t tp) {
  const auto add = [&](cache_role role, head_range heads, std::uint32_t total, std::uint32_t dim) {
    if (heads.count > 0)
      group.buffers.push_back({.layer = layer,
                               .role = role,
                               .first_head = heads.first,
                               .head_count = heads.count,
                               .total_heads = total,
                               .head_dim = dim,
                               .type = element_type::byte});
  };
  add(cache_role::conv, byte_share(state.conv_bytes, rank, tp), state.conv_bytes, 1);
  if (state.ssm_heads > 0)
    add(cache_role::ssm, share(state.ssm_heads, rank, tp), state.ssm_heads, state.ssm_head_bytes);
}

expected<> check_layers(const model_spec& model) {
  std::vector<std::string> owner(model.layers);
  const auto claim = [&](layer_span layers, const std::string& field) -> expected<> {
    if (layers.empty())
      return fail(errc::invalid_argument, "{}: no layers", field);
    for (auto layer : layers) {
      if (layer >= model.layers)
        return fail(errc::invalid_argument, "{}: layer {} of a model of {} layers", field, layer,
                    model.layers);
      if (!owner[layer].empty())
        return fail(errc::invalid_argument, "{}: layer {} is already in {}", field, layer,
                    owner[layer]);
      owner[layer] = field;
    }
    return {};
  };
  for (std::size_t i = 0; i < model.groups.size(); ++i)
    if (auto ok = claim(model.groups[i].layers, fmt::format("model.groups[{}].layers", i)); !ok)
      return ok;
  return model.state ? claim(model.state->layers, "model.state.layers") : expected<>{};
}

expected<> check_groups(const model_spec& model) {
  const auto count = model.groups.size() + (model.state ? 1 : 0);
  if (count > layout_limits::groups)
    return fail(errc::invalid_argument, "model.groups: {} are more than {}; join some", count,
                layout_limits::groups);
  for (std::size_t i = 0; i < model.groups.size(); ++i) {
    if (model.state && model.groups[i].name == state_group)
      return fail(
          errc::invalid_argument,
          "model.groups[{}].name: \"{}\" is that of the group of model.state; choose another", i,
          state_group);
    for (std::size_t j = 0; j < i; ++j)
      if (model.groups[i].name == model.groups[j].name)
        return fail(errc::invalid_argument, "model.groups[{}].name: \"{}\" is taken", i,
                    model.groups[i].name);
  }
  return check_layers(model);
}

expected<> check_model(const model_spec& model) {
  for (auto [field, value] : {std::pair{"layers", model.layers},
                              {"kv_heads", model.kv_heads},
                              {"head_dim", model.head_dim}})
    if (value == 0)
      return fail(errc::invalid_argument, "model.{}: must not be 0", field);
  if (model.mla && model.kv_heads != 1)
    return fail(errc::invalid_argument, "model.kv_heads: must be 1 for mla, is {}", model.kv_heads);
  return check_groups(model);
}

expected<> check_state(const state_spec& state, const side_spec& side, std::string_view name) {
  if (state.conv_bytes == 0 && state.ssm_heads == 0)
    return fail(errc::invalid_argument, "model.state: neither conv_bytes nor ssm_heads given");
  if ((state.ssm_heads == 0) != (state.ssm_head_bytes == 0))
    return fail(errc::invalid_argument,
                "model.state.ssm_head_bytes: {} with {} ssm_heads; give both or none",
                state.ssm_head_bytes, state.ssm_heads);
  if (state.ssm_heads > 0 && !side.attention_dp && side.tp > state.ssm_heads)
    return fail(errc::invalid_argument, "{}.tp: {} is more than model.state.ssm_heads ({})", name,
                side.tp, state.ssm_heads);
  return {};
}

expected<> check_side(const model_spec& model, const side_spec& side, std::string_view name) {
  for (auto [field, value] : {std::pair{"tp", std::uint64_t{side.tp}},
                              {"pp", std::uint64_t{side.pp}},
                              {"tokens_per_block", std::uint64_t{side.tokens_per_block}},
                              {"blocks", side.blocks}})
    if (value == 0)
      return fail(errc::invalid_argument, "{}.{}: must not be 0", name, field);
  if (std::uint64_t{side.tp} * side.pp > layout_limits::ranks)
    return fail(errc::invalid_argument, "{}.tp: {} x {} ranks are more than {}", name, side.tp,
                side.pp, layout_limits::ranks);
  if (side.pp > model.layers)
    return fail(errc::invalid_argument, "{}.pp: {} stages for {} layers", name, side.pp,
                model.layers);
  if (!side.pp_layers.empty()) {
    const auto sum =
        std::accumulate(side.pp_layers.begin(), side.pp_layers.end(), std::uint64_t{0});
    if (side.pp_layers.size() != side.pp || sum != model.layers ||
        std::ranges::count(side.pp_layers, 0u) > 0)
      return fail(errc::invalid_argument,
                  "{}.pp_layers: must be {} counts that are not 0 and sum to {}", name, side.pp,
                  model.layers);
  }
  return model.state ? check_state(*model.state, side, name) : expected<>{};
}

std::string fingerprint(const model_spec& model) {
  auto text =
      fmt::format("layers={} kv_heads={} head_dim={} type={} attention={}", model.layers,
                  model.kv_heads, model.head_dim, to_string(model.type), model.mla ? "mla" : "gqa");
  if (model.state)
    text += fmt::format(" conv_bytes={} ssm={}x{}", model.state->conv_bytes, model.state->ssm_heads,
                        model.state->ssm_head_bytes);
  return text;
}

/// Checks the products that the packer makes of numbers of any size.
expected<> check_size(const group_layout& group, const side_spec& side, std::string_view name) {
  using wide = unsigned __int128;
  wide slot = 0;
  for (const auto& buffer : group.buffers) {
    const auto bytes =
        wide{buffer.row_bytes()} * buffer.head_count * std::max(group.tokens_per_block, 1u);
    slot = side.pool == pool_order::tensor ? std::max(slot, bytes) : slot + bytes;
  }
  if (slot > layout_limits::pool_bytes)
    return fail(errc::invalid_argument,
                "{}.tokens_per_block: with {} a block of group \"{}\" has more than the {} bytes "
                "that a pool may have; use smaller blocks",
                name, side.tokens_per_block, group.name, layout_limits::pool_bytes);
  if (slot * side.blocks > layout_limits::pool_bytes)
    return fail(errc::invalid_argument,
                "{}.blocks: {} blocks of group \"{}\" with {} bytes each are more than the {} "
                "bytes that a pool may have; use fewer",
                name, side.blocks, group.name, static_cast<std::uint64_t>(slot),
                layout_limits::pool_bytes);
  return {};
}

expected<> check_counts(const rank_layout& rank) {
  if (rank.pools.size() > layout_limits::pools)
    return fail(errc::invalid_argument,
                "{}.pool: rank {} would have {} pools, at most {} are possible; choose another "
                "order than \"tensor\"",
                to_string(rank.role), rank.rank, rank.pools.size(), layout_limits::pools);
  if (rank.groups.empty())
    return fail(
        errc::invalid_argument,
        "{}.tp: model.state.conv_bytes are too few for {} ranks, rank {} would hold nothing",
        to_string(rank.role), rank.tp_size, rank.rank);
  return {};
}

/// Adds all groups of which the stage `[first, end)` holds a layer.
expected<> add_groups(rank_layout& rank, const model_spec& model, const side_spec& side,
                      std::uint32_t first, std::uint32_t end) {
  const auto shard = side.attention_dp ? 0 : rank.tp_rank();
  const auto shards = side.attention_dp ? 1 : side.tp;
  packer pack{side, rank.pools};
  const auto add = [&](group_layout group, layer_span layers, const auto& add_layer) -> expected<> {
    for (auto layer : held(layers, first, end))
      add_layer(group, layer);
    if (group.buffers.empty())
      return {};
    if (auto ok = check_size(group, side, to_string(rank.role)); !ok)
      return ok;
    pack.place(group);
    rank.groups.push_back(std::move(group));
    return {};
  };
  for (const auto& spec : attention_groups(model)) {
    auto added = add({spec.name, side.tokens_per_block, spec.window, {}}, spec.layers,
                     [&](group_layout& group, std::uint32_t layer) {
                       add_attention(group, model, layer, shard, shards);
                     });
    if (!added)
      return added;
  }
  if (model.state) {
    auto added = add({state_group, 0, 0, {}}, model.state->layers,
                     [&](group_layout& group, std::uint32_t layer) {
                       add_state(group, *model.state, layer, shard, shards);
                     });
    if (!added)
      return added;
  }
  return check_counts(rank);
}

} // namespace

std::vector<std::uint32_t> stage_layers(const model_spec& model, const side_spec& side) {
  if (!side.pp_layers.empty())
    return side.pp_layers;
  std::vector<std::uint32_t> counts(side.pp, model.layers / side.pp);
  for (std::uint32_t stage = 0; stage < model.layers % side.pp; ++stage)
    ++counts[stage];
  return counts;
}

expected<std::vector<rank_layout>> build_instance(const model_spec& model, const side_spec& side,
                                                  instance_role role, const std::string& name) {
  if (auto ok = check_model(model); !ok)
    return fail(std::move(ok.error()));
  if (auto ok = check_side(model, side, to_string(role)); !ok)
    return fail(std::move(ok.error()));
  std::vector<rank_layout> ranks;
  std::uint32_t first = 0;
  for (auto count : stage_layers(model, side)) {
    for (std::uint32_t tp_rank = 0; tp_rank < side.tp; ++tp_rank) {
      rank_layout rank;
      rank.instance = name;
      rank.role = role;
      rank.rank = static_cast<std::uint32_t>(ranks.size());
      rank.tp_size = side.tp;
      rank.pp_size = side.pp;
      rank.attention_dp = side.attention_dp;
      rank.model = fingerprint(model);
      if (auto added = add_groups(rank, model, side, first, first + count); !added)
        return fail(std::move(added.error()));
      ranks.push_back(std::move(rank));
    }
    first += count;
  }
  return ranks;
}

} // namespace baton::handoff
