#include "transport/pool/memory_pool.hpp"

#include <algorithm>

namespace baton {

namespace {

expected<> check_device(const pool_layout& layout, const device_pool& pool, std::size_t index) {
  if (pool.uuid() != layout.device_uuid)
    return fail(errc::invalid_argument, "pools[{}] lies on {}, its layout says {}", index,
                pool.uuid(), layout.device_uuid);
  if (static_cast<std::uint32_t>(pool.device()) != layout.device)
    return fail(errc::invalid_argument, "pools[{}] lies on GPU {}, its layout says {}", index,
                pool.device(), layout.device);
  return {};
}

} // namespace

std::span<std::byte> memory_pool::memory() const noexcept {
  if (const auto* host = std::get_if<host_pool>(&pool_))
    return host->memory();
  return {device()->data(), device()->size()};
}

pool_share memory_pool::share() const {
  if (const auto* gpu = device())
    return gpu->share();
  if (std::get<host_pool>(pool_).descriptor() >= 0)
    return {.kind = share_kind::memory_file};
  return {.kind = share_kind::none, .reason = "host memory of the engine; let baton allocate it"};
}

std::vector<int> memory_pool::descriptors() const {
  if (const auto* gpu = device())
    return gpu->descriptors();
  const int own = std::get<host_pool>(pool_).descriptor();
  return own < 0 ? std::vector<int>{} : std::vector<int>{own};
}

expected<> check_pools(const rank_layout& layout, std::span<const memory_pool> pools) {
  if (pools.size() != layout.pools.size())
    return fail(errc::invalid_argument, "{} pools for a layout of {}", pools.size(),
                layout.pools.size());
  const device_pool* first = nullptr;
  for (std::size_t i = 0; i < pools.size(); ++i) {
    const auto& wanted = layout.pools[i];
    if (pools[i].kind() != wanted.kind)
      return fail(errc::invalid_argument, "pools[{}] is {} memory, its layout says {}", i,
                  to_string(pools[i].kind()), to_string(wanted.kind));
    if (pools[i].size() < wanted.bytes())
      return fail(errc::invalid_argument, "pools[{}] has {} bytes, its layout {}", i,
                  pools[i].size(), wanted.bytes());
    const auto* device = pools[i].device();
    if (device == nullptr)
      continue;
    if (auto right = check_device(wanted, *device, i); !right)
      return right;
    if (first == nullptr)
      first = device;
    if (first->uuid() != device->uuid())
      return fail(errc::invalid_argument,
                  "pools[{}] lies on {}, others on {}: run one rank for each GPU", i,
                  device->uuid(), first->uuid());
  }
  return {};
}

bool has_gpu_pools(std::span<const pool_layout> pools) noexcept {
  return std::ranges::any_of(pools,
                             [](const auto& pool) { return pool.kind == memory_kind::cuda; });
}

} // namespace baton
