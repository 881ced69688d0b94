#include "examples/bench/bench_cache.hpp"

#include "examples/bench/cache.hpp"
#include "examples/bench/gpu_cache.hpp"

namespace baton::bench {

std::unique_ptr<bench_cache> make_cache(const nlohmann::json& start) {
  const auto role = start.at("role").get<instance_role>();
  if (!start.contains("gpu"))
    return std::make_unique<rank_cache>(start.at("cache").get<cache_setup>(), role);
  gpu_arena memory{start.at("gpu").get<int>()};
  return std::make_unique<gpu_cache>(start.at("cache").get<gpu_setup>(), role, memory);
}

} // namespace baton::bench
