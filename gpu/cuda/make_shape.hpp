#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <span>

#include "gpu/cuda/error.hpp"
#include "gpu/cuda/shape_storage.hpp"
#include "gpu/stream.hpp"

namespace baton {

/// Instead of a least size: no tile goes to the bulk kernel.
inline constexpr std::uint32_t no_bulk = ~0u;

/// Most tiles of a shape, so that items of a launch can be counted in 32 bits.
inline constexpr std::size_t most_tiles = std::size_t{1} << 26;

/// What an engine lends for making shapes.
struct shape_maker {
  const void* engine = nullptr;
  std::shared_ptr<shape_arena> arena;
  cudaStream_t stream = nullptr;
  std::uint32_t bulk_least = no_bulk; ///< bytes of the smallest tile for the bulk kernel
};

/// `copy_engine::make_shape`. The engine's context is current.
[[nodiscard]] expected<std::shared_ptr<const copy_shape>>
make_shape(const shape_maker& maker, copy_way way, std::span<const copy_run> runs,
           std::span<const copy_lane> lanes);

} // namespace baton
