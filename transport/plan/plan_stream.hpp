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
  /// Bytes of the largest source element that is converted; 1 if none is.
  [[nodiscard]] std::uint32_t grain() const noexcept { return grain_; }

  /// Returns the last place, at `offset` or less than `grain()` before it, where no element that is
  /// converted would be cut in two.
  [[nodiscard]] std::uint64_t whole(std::uint64_t offset) const noexcept;

  /// Calls `visit(lane, source, destination, bytes)` for each piece of `[offset, offset + bytes)`
  /// in stream order, with byte offsets from the starts of the two pools that `lane` names. The
  /// range must lie within the stream, and begin and end at a `whole` place.
  template <class Visit>
  void visit(std::uint64_t offset, std::uint64_t bytes, Visit&& visit) const {
    for (auto part = part_at(offset); bytes > 0; ++part) {
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
    auto index = run_at(shape, within);
    auto skip = within - shape.prefix[index];
    while (bytes > 0) {
      const run& piece = shape.runs[index];
      const run_lane& lane = shape.lanes[piece.lane];
      const auto count = std::min(bytes, piece.bytes - skip);
      const auto [source, destination] = part.pairs[pair];
      visit(lane, piece.source + source * lane.source_stride + skip,
            piece.destination + destination * lane.destination_stride + lane.as.written(skip),
            count);
      bytes -= count;
      skip = 0;
      if (++index == shape.runs.size()) {
        index = 0;
        ++pair;
      }
    }
  }

  [[nodiscard]] std::size_t part_at(std::uint64_t offset) const noexcept {
    return static_cast<std::size_t>(std::upper_bound(starts_.begin(), starts_.end(), offset) -
                                    starts_.begin() - 1);
  }
  [[nodiscard]] static std::size_t run_at(const run_template& shape,
                                          std::uint64_t within) noexcept {
    return static_cast<std::size_t>(
        std::upper_bound(shape.prefix.begin(), shape.prefix.end(), within) - shape.prefix.begin() -
        1);
  }

  plan plan_;
  std::vector<std::uint64_t> starts_; ///< stream offset of each part, and the end
  std::uint32_t grain_ = 1;
};

/// A stream cut into chunks, none of which begins or ends within an element that is converted. Both
/// sides of a plan cut it alike. The stream must outlive it.
class stream_chunks {
public:
  /// @param most bytes of a chunk, at least 128.
  stream_chunks(const plan_stream& stream, std::uint64_t most) noexcept
      : stream_{&stream},
        step_{stream.grain() == 1 ? most : (most - (stream.grain() - 1)) / alignment * alignment},
        count_{static_cast<std::size_t>((stream.bytes() + step_ - 1) / step_)} {}

  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  /// Where a chunk begins; for `count()` the end of the stream.
  [[nodiscard]] std::uint64_t begin(std::size_t index) const noexcept {
    return index == count_ ? stream_->bytes() : stream_->whole(index * step_);
  }
  [[nodiscard]] std::uint64_t bytes(std::size_t index) const noexcept {
    return begin(index + 1) - begin(index);
  }

private:
  /// So that kernels find elements as well aligned in a chunk as they are in the stream.
  static constexpr std::uint64_t alignment = 64;

  const plan_stream* stream_;
  std::uint64_t step_;
  std::size_t count_;
};

using source_pools = std::span<const std::byte* const>; ///< starts of the source's pools
using destination_pools = std::span<std::byte* const>;  ///< starts of the destination's pools

// Ranges begin and end at `whole` places of the stream.

/// Copies a range of the stream from pools to pools, and converts what is to be converted.
void copy_range(const plan_stream& stream, std::uint64_t offset, std::uint64_t bytes,
                source_pools from, destination_pools to, copy_mode mode) noexcept;

/// Copies a range of the stream from pools to contiguous memory, as it is.
void gather_range(const plan_stream& stream, std::uint64_t offset, std::uint64_t bytes,
                  source_pools from, std::byte* to) noexcept;

/// Copies a range of the stream from contiguous memory to pools, and converts what is to be
/// converted.
void scatter_range(const plan_stream& stream, std::uint64_t offset, std::uint64_t bytes,
                   const std::byte* from, destination_pools to, copy_mode mode) noexcept;

} // namespace baton
