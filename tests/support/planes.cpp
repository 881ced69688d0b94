#include "tests/support/planes.hpp"

#include <algorithm>
#include <numeric>
#include <random>
#include <stdexcept>

#include "gpu/device.hpp"
#include "gpu/stream.hpp"

namespace baton::test {

namespace {

/// Tests cannot go on without it.
template <class T>
T must(expected<T> value) {
  if (!value)
    throw std::runtime_error{to_string(value.error())};
  return std::move(*value);
}

void must(const expected<>& done) {
  if (!done)
    throw std::runtime_error{to_string(done.error())};
}

} // namespace

rank_layout cache_layout(const cache_shape& shape, instance_role role, incarnation life) {
  rank_layout out;
  out.instance = role == instance_role::context ? "ctx" : "gen";
  out.life = life;
  out.role = role;
  out.model = "sample";
  out.pools.push_back({memory_kind::host, 0, "", shape.slot_bytes(), shape.slots});
  group_layout group{"full", shape.tokens_per_block, 0, {}};
  const bool layer_first = role == instance_role::context;
  for (std::uint32_t i = 0; i < 2 * shape.layers; ++i) {
    buffer_layout buffer;
    buffer.layer = i / 2;
    buffer.role = i % 2 == 0 ? cache_role::key : cache_role::value;
    buffer.slot_stride = layer_first ? shape.fragment_bytes : shape.slot_bytes();
    buffer.offset = std::uint64_t{i} * shape.fragment_bytes * (layer_first ? shape.slots : 1);
    buffer.head_count = 1;
    buffer.total_heads = 1;
    buffer.head_stride = shape.fragment_bytes;
    buffer.token_stride = shape.fragment_bytes / shape.tokens_per_block;
    buffer.head_dim = shape.fragment_bytes / shape.tokens_per_block;
    buffer.type = element_type::byte;
    group.buffers.push_back(buffer);
  }
  out.groups.push_back(std::move(group));
  return out;
}

void place(rank_layout& layout, pool_memory memory, int device) {
  if (memory == pool_memory::host)
    return;
  layout.pools[0].kind = memory_kind::cuda;
  layout.pools[0].device = static_cast<std::uint32_t>(device);
  layout.pools[0].device_uuid = must(describe_gpu(device)).uuid;
}

plane_rank::plane_rank(const cache_shape& wanted, instance_role role, const plane_options& options,
                       pool_memory memory, int device)
    : shape{wanted}, layout{cache_layout(wanted, role, random_id<incarnation>())} {
  place(layout, memory, device);
  std::vector<memory_pool> pools;
  if (memory == pool_memory::host) {
    pools.emplace_back(must(host_pool::create(shape.pool_bytes())));
  } else if (memory == pool_memory::device) {
    pools.emplace_back(must(device_pool::create(device, shape.pool_bytes())));
  } else {
    // A part of a larger allocation, as engines have it.
    engine = must(device_buffer::create(device, shape.pool_bytes() + 4096));
    pools.emplace_back(must(device_pool::adopt(engine.data() + 512, shape.pool_bytes())));
  }
  plane = must(rank_plane::create(layout.life, layout, std::move(pools), options));
}

plane_rank::plane_rank(const cache_shape& wanted, instance_role role, const plane_options& options,
                       std::vector<std::byte>* adopted)
    : shape{wanted}, layout{cache_layout(wanted, role, random_id<incarnation>())} {
  std::vector<host_pool> pools;
  if (adopted != nullptr) {
    adopted->resize(shape.pool_bytes());
    pools.push_back(must(host_pool::adopt(adopted->data(), adopted->size())));
  } else {
    pools.push_back(must(host_pool::create(shape.pool_bytes())));
  }
  plane = must(rank_plane::create(layout.life, layout, std::move(pools), options));
}

std::byte* plane_rank::fragment(std::uint32_t slot, std::uint32_t buffer) const {
  const auto& view = layout.groups[0].buffers[buffer];
  return plane->pool(0).data() + view.offset + slot * view.slot_stride;
}

std::byte pattern(std::uint32_t slot, std::uint32_t buffer, std::uint32_t at, std::uint8_t salt) {
  return static_cast<std::byte>((slot * 7919u + buffer * 104729u + at * 31u + (at >> 8)) ^ salt);
}

void plane_rank::fill(std::uint8_t salt) const {
  const auto& pool = plane->pool(0);
  std::vector<std::byte> staged(pool.kind() == memory_kind::host ? 0 : pool.size());
  auto* start = staged.empty() ? pool.data() : staged.data();
  for (std::uint32_t slot = 0; slot < shape.slots; ++slot)
    for (std::uint32_t buffer = 0; buffer < 2 * shape.layers; ++buffer) {
      auto* bytes = start + (fragment(slot, buffer) - pool.data());
      for (std::uint32_t at = 0; at < shape.fragment_bytes; ++at)
        bytes[at] = pattern(slot, buffer, at, salt);
    }
  if (!staged.empty())
    must(copy_now(pool.data(), staged.data(), staged.size()));
}

bool plane_rank::holds(std::uint32_t slot, std::uint32_t pattern_slot, std::uint8_t salt) const {
  const bool host = plane->pool(0).kind() == memory_kind::host;
  std::vector<std::byte> staged(host ? 0 : shape.fragment_bytes);
  for (std::uint32_t buffer = 0; buffer < 2 * shape.layers; ++buffer) {
    const auto* bytes = fragment(slot, buffer);
    if (!host) {
      must(copy_now(staged.data(), bytes, staged.size()));
      bytes = staged.data();
    }
    for (std::uint32_t at = 0; at < shape.fragment_bytes; ++at)
      if (bytes[at] != pattern(pattern_slot, buffer, at, salt))
        return false;
  }
  return true;
}

std::shared_ptr<const planner> plan_between(const rank_layout& context,
                                            const rank_layout& generation) {
  const auto table = must(make_pairs({&context, 1}, 0, {&generation, 1}, 0));
  return std::make_shared<const planner>(context, generation, *table.find(0, 0));
}

peer_card card_of(const rank_layout& self, const rank_layout& peer, std::string manifest) {
  peer_card card{peer.life, peer, std::move(manifest), nullptr, nullptr};
  if (self.role == instance_role::generation)
    card.pull = plan_between(peer, self);
  else
    card.serve = plan_between(self, peer);
  return card;
}

expected<lane_choice> introduce(rank_plane& self, peer_card peer) {
  eventually<expected<lane_choice>> answer;
  self.introduce(std::move(peer), answer.callback());
  return answer.get().value_or(fail(errc::timed_out, "no answer to an introduction"));
}

bool retired(rank_plane& self, session_key session, std::chrono::milliseconds limit) {
  eventually<bool> answer;
  self.retire(session, [done = answer.callback()] { done(true); });
  return answer.get(limit).has_value();
}

grant_spec whole_blocks(const cache_shape& shape, incarnation reader,
                        std::vector<std::uint32_t> blocks) {
  const auto tokens = static_cast<std::uint32_t>(blocks.size()) * shape.tokens_per_block;
  return {reader, {{"full", {0, tokens}}}, {{"full", 0, std::move(blocks)}}};
}

pull_job job_for(const lease& right, const grant_spec& granted,
                 std::vector<std::uint32_t> destination) {
  return {
      right.owner, right, granted.ranges, granted.blocks, {{"full", 0, std::move(destination)}}};
}

introduced_ranks::introduced_ranks(const cache_shape& shape, const plane_options& options)
    : introduced_ranks{plane_rank{shape, instance_role::context, options},
                       plane_rank{shape, instance_role::generation, options}} {
}

introduced_ranks::introduced_ranks(plane_rank source, plane_rank destination)
    : context{std::move(source)}, generation{std::move(destination)} {
  context.fill(1);
  generation.fill(2);
  must(introduce(*context.plane,
                 card_of(context.layout, generation.layout, generation.plane->manifest())));
  choice = must(introduce(*generation.plane,
                          card_of(generation.layout, context.layout, context.plane->manifest())));
}

introduced_ranks::offer_made introduced_ranks::offer(std::uint32_t blocks, std::uint32_t seed,
                                                     session_key owner) const {
  offer_made out;
  out.granted =
      whole_blocks(context.shape, generation.life(), shuffled(blocks, context.shape.slots, seed));
  out.destination = shuffled(blocks, context.shape.slots, seed + 1000);
  out.right = must(context.plane->grant(owner, out.granted));
  return out;
}

introduced_ranks::offer_made introduced_ranks::offer_part(std::uint32_t index,
                                                          std::uint32_t parts) const {
  const auto blocks = context.shape.slots / parts;
  auto out = offer(blocks, index);
  std::iota(out.destination.begin(), out.destination.end(), index * blocks);
  return out;
}

void introduced_ranks::begin(const offer_made& what, session_key session,
                             std::function<void(expected<pull_stats>)> done) const {
  generation.plane->pull(session, job_for(what.right, what.granted, what.destination),
                         std::move(done));
}

expected<pull_stats> introduced_ranks::pull(const offer_made& what, session_key session) const {
  eventually<expected<pull_stats>> ended;
  begin(what, session, ended.callback());
  return ended.get().value_or(fail(errc::timed_out, "the pull did not end"));
}

bool introduced_ranks::arrived(const offer_made& what) const {
  const auto& from = what.granted.blocks[0].blocks;
  for (std::size_t i = 0; i < from.size(); ++i)
    if (!generation.holds(what.destination[i], from[i], 1))
      return false;
  return true;
}

std::string introduced_ranks::pull_at_once(std::uint32_t count) const {
  std::vector<eventually<expected<pull_stats>>> ended(count);
  std::vector<offer_made> jobs;
  for (std::uint32_t i = 0; i < count; ++i) {
    jobs.push_back(offer_part(i, count));
    begin(jobs.back(), session_key{100 + i}, ended[i].callback());
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto result = ended[i].get();
    if (!result)
      return fmt::format("pull {} did not end", i);
    if (!*result)
      return fmt::format("pull {}: {}", i, to_string(result->error()));
    if (!arrived(jobs[i]))
      return fmt::format("pull {} brought other bytes", i);
  }
  return "";
}

expected<lane_choice> introduced_ranks::introduce_again() const {
  return introduce(*generation.plane,
                   card_of(generation.layout, context.layout, context.plane->manifest()));
}

std::vector<std::uint32_t> shuffled(std::uint32_t count, std::uint32_t limit, std::uint32_t seed) {
  std::vector<std::uint32_t> all(limit);
  std::iota(all.begin(), all.end(), 0u);
  std::shuffle(all.begin(), all.end(), std::mt19937{seed});
  all.resize(count);
  return all;
}

} // namespace baton::test
