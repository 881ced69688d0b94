#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "transport/base/copy.hpp"
#include "transport/plan/plan.hpp"

namespace baton {

/// A plan seen as its canonical stream of bytes (see `plan`), any range of which can be visited
/// without walking what lies before it. Immutable; safe to be used by several threads.
class plan_stream {
public:
  explicit plan_stream(plan what);

  [[nodiscard]] std::uint64_t bytes() const noexcept { return plan_.bytes; }
  [[nodiscard]] const plan& what() const noexcept { return plan_; }

  /// Calls `visit(lane, source, destination, bytes)` for each piece of `[offset, offset + bytes)`
  /// in stream order, with byte offsets from the starts of the two pools that `lane` names. The
  /// range must lie within the stream.
  template <class Visit>
  void visit(std::uint64_t offset, std::uint64_t bytes, Visit&& visit) const {
    auto part = static_cast<std::size_t>(std::upper_bound(starts_.begin(), starts_.end(), offset) -
                                         starts_.begin() - 1);
    for (; bytes > 0; ++part) {
      const auto taken = std::min(bytes, starts_[part + 1] - offset);
      visit_part(plan_.parts[part], offset - starts_[part], taken, visit);
      offset += taken;
      bytes -= taken;
    }
  }

private:
  template <class Visit>
  static void visit_part(const plan_part& part, std::uint64_t offset, std::uint64_t bytes,
                         Visit& visit) {
    const run_template& shape = *part.shape;
    auto pair = static_cast<std::size_t>(offset / shape.bytes);
    const auto within = offset % shape.bytes;
    auto index = static_cast<std::size_t>(
        std::upper_bound(shape.prefix.begin(), shape.prefix.end(), within) - shape.prefix.begin() -
        1);
    auto skip = within - shape.prefix[index];
    while (bytes > 0) {
      const run& piece = shape.runs[index];
      const run_lane& lane = shape.lanes[piece.lane];
      const auto count = std::min(bytes, piece.bytes - skip);
      const auto [source, destination] = part.pairs[pair];
      visit(lane, piece.source + source * lane.source_stride + skip,
            piece.destination + destination * lane.destination_stride + skip, count);
      bytes -= count;
      skip = 0;
      if (++index == shape.runs.size()) {
        index = 0;
        ++pair;
      }
    }
  }

  plan plan_;
  std::vector<std::uint64_t> starts_; ///< stream offset of each part, and the end
};

using source_pools = std::span<const std::byte* const>; ///< starts of the source's pools
using destination_pools = std::span<std::byte* const>;  ///< starts of the destination's pools

/// Copies a range of the stream from pools to pools.
void copy_range(const plan_stream& stream, std::uint64_t offset, std::uint64_t bytes,
                source_pools from, destination_pools to, copy_mode mode) noexcept;

/// Copies a range of the stream from pools to contiguous memory.
void gather_range(const plan_stream& stream, std::uint64_t offset, std::uint64_t bytes,
                  source_pools from, std::byte* to) noexcept;

/// Copies a range of the stream from contiguous memory to pools.
void scatter_range(const plan_stream& stream, std::uint64_t offset, std::uint64_t bytes,
                   const std::byte* from, destination_pools to, copy_mode mode) noexcept;

} // namespace baton
