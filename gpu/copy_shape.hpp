#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "messages/conversion.hpp"

namespace baton {

/// One piece that is contiguous on both sides, relative to slot 0 of both pools: the GPU's view of
/// a plan's run. Bytes.
struct copy_run {
  std::uint64_t source = 0;      ///< from the source pool's start
  std::uint64_t destination = 0; ///< from the destination pool's start
  std::uint64_t bytes = 0;       ///< of the source, greater than 0; whole elements, if converted
  std::uint32_t lane = 0;        ///< index into the lanes that come with it
};

/// The two pools that a run connects, as addresses for kernels, how far apart their slots are, and
/// what becomes of elements on their way.
struct copy_lane {
  const std::byte* source = nullptr; ///< slot 0; unused by a scatter
  std::byte* destination = nullptr;  ///< slot 0; unused by a gather
  std::uint64_t source_stride = 0;   ///< bytes
  std::uint64_t destination_stride = 0;
  element_conversion as{}; ///< not for a gather: streams carry elements as they were read
};

/// A source slot and the destination slot that takes from it. A gather ignores `destination`, a
/// scatter `source`.
struct copy_pair {
  std::uint32_t source = 0;
  std::uint32_t destination = 0;

  friend bool operator==(const copy_pair&, const copy_pair&) = default;
};

/// From where to where a shape's bytes go.
enum class copy_way : std::uint8_t {
  pool_to_pool,   ///< pull: scattered reads and scattered writes in one pass
  pool_to_stream, ///< gather into a contiguous buffer, in stream order
  stream_to_pool, ///< scatter from a contiguous buffer
};

/// Largest piece that one worker of a kernel takes at a time. Bytes.
inline constexpr std::uint32_t copy_tile_bytes = 8u << 10;

/// A part of a run, of at most `copy_tile_bytes`, with its place in the stream of one pair.
/// Addresses are those for slot 0 of the pools. It is what the kernels read, so its size matters.
struct alignas(16) copy_tile {
  std::uint64_t source = 0;
  std::uint64_t destination = 0;
  std::uint64_t source_stride = 0;
  std::uint64_t destination_stride = 0;
  std::uint64_t position = 0; ///< bytes of the pair's stream before this tile
  std::uint32_t bytes = 0;    ///< of the source
  union {
    std::uint32_t run_bytes = 0; ///< of the whole run, at most 2^32 - 1; if it is only copied
    float factor;                ///< of the conversion
  };
};
static_assert(sizeof(copy_tile) == 48);

/// Cuts runs into tiles, in order: those of which the lane converts one type to the other, or those
/// that are only copied. Pure; runs on any machine.
///
/// @param runs each names an existing lane.
[[nodiscard]] std::vector<copy_tile> cut_tiles(std::span<const copy_run> runs,
                                               std::span<const copy_lane> lanes,
                                               type_pair converted = {});

/// The runs of one template, bound to pool addresses and put into the memory of a GPU. Immutable.
/// Made by `copy_engine::make_shape`, once per template and peer; shared between all jobs. It holds
/// no pool alive: pools must stay mapped until every job that uses the shape has ended.
///
/// May be released on any thread, also after its engine.
class copy_shape {
public:
  struct storage; ///< what the engine knows of it

  copy_shape(copy_way way, std::uint64_t bytes, std::shared_ptr<const storage> inner) noexcept
      : way_{way}, bytes_{bytes}, inner_{std::move(inner)} {}

  [[nodiscard]] copy_way way() const noexcept { return way_; }
  /// Bytes read per pair of slots.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] const storage& inner() const noexcept { return *inner_; }

private:
  copy_way way_;
  std::uint64_t bytes_;
  std::shared_ptr<const storage> inner_;
};

} // namespace baton
