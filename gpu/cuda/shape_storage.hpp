#pragma once

#include <cstdint>
#include <vector>

#include "gpu/copy_shape.hpp"
#include "gpu/cuda/shape_arena.hpp"

namespace baton {

/// Some of a shape's tiles, in stream order, as one kernel takes them.
struct tile_list {
  const copy_tile* tiles = nullptr;     ///< device memory
  std::vector<std::uint64_t> positions; ///< of the tiles, to find a window
  std::uint32_t longest = 0;            ///< bytes
  std::uint64_t bytes = 0;

  [[nodiscard]] std::uint32_t size() const noexcept {
    return static_cast<std::uint32_t>(positions.size());
  }
};

/// A shape in the memory of a GPU.
struct copy_shape::storage {
  shape_arena::piece memory;
  const void* engine = nullptr; ///< who made it; only compared
  tile_list all;                ///< for the load/store kernel
  tile_list bulk;               ///< for a whole pull: what the bulk kernel takes; may be empty
  tile_list rest;               ///< and what it leaves to the load/store kernel
};

} // namespace baton
