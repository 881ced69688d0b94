#include "examples/handoff/rank_memory.hpp"

#include <utility>

#include "gpu/stream.hpp"

namespace baton::handoff {

namespace {

/// What allocators of engines align to.
constexpr std::size_t part_alignment = 256;

std::size_t aligned(std::size_t bytes) {
  return (bytes + part_alignment - 1) / part_alignment * part_alignment;
}

expected<memory_pool> make_pool(pool_place place, int device, std::size_t bytes) {
  const auto as_pool = [](auto made) { return memory_pool{std::move(made)}; };
  if (place == pool_place::host)
    return host_pool::create(bytes).map(as_pool);
  return device_pool::create(device, bytes).map(as_pool);
}

} // namespace

expected<rank_memory> rank_memory::create(pool_place place, int device, rank_layout& layout) {
  rank_memory made;
  if (place == pool_place::cuda) {
    if (auto added = made.add_parts(device, layout); !added)
      return fail(std::move(added.error()));
  } else {
    for (std::size_t i = 0; i < layout.pools.size(); ++i) {
      auto pool = make_pool(place, device, layout.pools[i].bytes());
      if (!pool)
        return fail(pool.error().code, "pool {} of {}: {}", i, layout.pools.size(),
                    pool.error().text);
      made.add(std::move(*pool));
    }
  }
  for (std::size_t i = 0; i < made.pools_.size(); ++i)
    if (const auto* gpu = made.pools_[i].device()) {
      layout.pools[i].kind = memory_kind::cuda;
      layout.pools[i].device = static_cast<std::uint32_t>(gpu->device());
      layout.pools[i].device_uuid = gpu->uuid();
    }
  return made;
}

expected<> rank_memory::add_parts(int device, const rank_layout& layout) {
  std::size_t bytes = 0;
  for (const auto& pool : layout.pools)
    bytes += aligned(pool.bytes());
  auto engine = device_buffer::create(device, bytes);
  if (!engine)
    return fail(std::move(engine.error()));
  engine_ = std::move(*engine);
  std::size_t offset = 0;
  for (const auto& pool : layout.pools) {
    auto part = device_pool::adopt(engine_.data() + offset, pool.bytes());
    if (!part)
      return fail(std::move(part.error()));
    add(std::move(*part));
    offset += aligned(pool.bytes());
  }
  return {};
}

void rank_memory::add(memory_pool pool) {
  if (pool.device() != nullptr) {
    on_gpu_.push_back(pool.data());
    view_.push_back(copies_.emplace_back(pool.size()));
  } else {
    view_.push_back(pool.memory());
  }
  pools_.push_back(std::move(pool));
}

expected<> rank_memory::upload() const {
  for (std::size_t i = 0; i < on_gpu_.size(); ++i)
    if (auto done = copy_now(on_gpu_[i], view_[i].data(), view_[i].size()); !done)
      return done;
  return {};
}

expected<> rank_memory::upload(std::span<const std::byte> part) const {
  for (std::size_t i = 0; i < on_gpu_.size(); ++i)
    if (part.data() >= view_[i].data() && part.data() < view_[i].data() + view_[i].size())
      return copy_now(on_gpu_[i] + (part.data() - view_[i].data()), part.data(), part.size());
  return {};
}

expected<> rank_memory::download() const {
  for (std::size_t i = 0; i < on_gpu_.size(); ++i)
    if (auto done = copy_now(view_[i].data(), on_gpu_[i], view_[i].size()); !done)
      return done;
  return {};
}

} // namespace baton::handoff
