#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "gpu/copy_shape.hpp"
#include "gpu/cuda/shape_arena.hpp"

namespace baton {

/// Some of a shape's tiles, in stream order, as one kernel takes them.
struct tile_list {
  const copy_tile* tiles = nullptr;     ///< device memory
  std::vector<std::uint64_t> positions; ///< of the tiles, to find a window
  std::vector<std::uint64_t> ends;      ///< likewise
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
  std::uint64_t tiles = 0;      ///< of all lists that a launch takes
  tile_list all;                ///< for the load/store kernel: what is only copied
  tile_list bulk;               ///< for a whole pull: what the bulk kernel takes; may be empty
  tile_list rest;               ///< and what it leaves to the load/store kernel
  std::array<tile_list, conversions.size()> converted; ///< by index into `conversions`
};

} // namespace baton
