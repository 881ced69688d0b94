#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "gpu/copy_engine.hpp"
#include "messages/error.hpp"
#include "transport/plan/plan.hpp"

namespace baton {

/// Templates as kernels take them, each made at its first use. Belongs to the thread of the engine,
/// but may be destroyed on any.
class shape_cache {
public:
  /// Tiles of templates that are remembered, each 48 bytes of GPU memory.
  static constexpr std::uint64_t most_tiles = 1u << 20;

  /// @param sources, destinations where the pools start for kernels; empty for the side that is a
  ///        stream.
  shape_cache(copy_way way, std::vector<const std::byte*> sources,
              std::vector<std::byte*> destinations);

  /// @param engine always the same.
  /// @returns `out_of_resources` if the GPU's memory is used up, else `gpu_failed`.
  [[nodiscard]] expected<std::shared_ptr<const copy_shape>>
  get(copy_engine& engine, const std::shared_ptr<const run_template>& from);

  /// Makes the plan of a whole job.
  ///
  /// @param owner keeps `what`, and is kept by the plan.
  [[nodiscard]] expected<std::shared_ptr<const copy_plan>>
  plan_for(copy_engine& engine, const plan& what, std::shared_ptr<const void> owner);

private:
  struct remembered {
    std::shared_ptr<const run_template> from; ///< so that its address stays its own
    std::shared_ptr<const copy_shape> shape;
  };

  copy_way way_;
  std::vector<const std::byte*> sources_;
  std::vector<std::byte*> destinations_;
  std::unordered_map<const run_template*, remembered> shapes_;
  std::uint64_t tiles_ = 0;
};

} // namespace baton
