#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "gpu/copy_engine.hpp"
#include "gpu/cuda/abort_board.hpp"
#include "gpu/cuda/copy_args.hpp"
#include "gpu/cuda/pair_ring.hpp"
#include "gpu/cuda/shape_storage.hpp"
#include "gpu/stream.hpp"

namespace baton {

/// One stream of an engine, with what its launches need. A few pairs of slots travel as arguments
/// of the kernel, more through a ring in the GPU's memory. The engine's context is current in all
/// calls.
class launcher {
public:
  /// @param aborts must outlive the launcher.
  /// @param first_word its `tuning::launches_per_stream` words begin here.
  [[nodiscard]] static expected<launcher> create(const copy_engine_options& options,
                                                 abort_board& aborts, std::uint32_t first_word);

  /// Launches the next piece of an order, from stream byte `from`: as much as ring and arguments
  /// take. None while kernels of other tags would hold it up for long: an order that waits on the
  /// host can be given up at once.
  ///
  /// @param tag comes back with `take_ended`.
  /// @returns the first byte of the stream that is left; `from` if there is no room now.
  [[nodiscard]] expected<std::uint64_t> launch(const copy_order& order, std::uint64_t from,
                                               std::uint64_t tag);

  /// Tag of a piece that has ended since, in order; nothing if there is none.
  [[nodiscard]] expected<std::optional<std::uint64_t>> take_ended();

  /// Tells the kernels of all pieces with this tag to stop.
  void abort(std::uint64_t tag) noexcept;

  [[nodiscard]] std::size_t in_flight() const noexcept { return flights_.size(); }
  /// Bytes that kernels of other tags have yet to move before one of this tag could begin.
  [[nodiscard]] std::uint64_t bytes_ahead_of(std::uint64_t tag) const noexcept;

private:
  /// Pairs of one part in a row.
  struct stretch {
    const copy_shape::storage* shape = nullptr;
    std::span<const copy_pair> pairs;
    std::uint64_t pair_bytes = 0;
    std::uint64_t stream = 0; ///< where the first pair starts
    std::uint64_t begin = 0;  ///< what of the stream is to be moved
    std::uint64_t end = 0;
  };
  /// A launch on the GPU.
  struct flight {
    std::uint64_t tag = 0;
    std::uint64_t number = 0;
    std::uint64_t bytes = 0;
    pair_ring::mark ring = 0; ///< what lies before this is free after it
    std::uint32_t place = 0;  ///< which events and which abort word are its own
  };
  enum class kernel : std::uint8_t { load_store, bulk, convert };
  /// Some of a shape's tiles, and what moves them.
  struct kernel_work {
    kernel by = kernel::load_store;
    tile_list copy_shape::storage::*copied = nullptr; ///< not for `convert`
    std::size_t conversion = 0;                       ///< for `convert`: index into `conversions`

    [[nodiscard]] const tile_list& tiles(const copy_shape::storage& shape) const noexcept {
      return by == kernel::convert ? shape.converted[conversion] : shape.*copied;
    }
  };

  launcher() = default;
  [[nodiscard]] static std::vector<stretch> cut(const copy_order& order, std::uint64_t from,
                                                std::uint64_t most_pairs);
  [[nodiscard]] expected<> start(std::span<const stretch> stretches, const copy_order& order,
                                 copy_args& args, bool few, std::uint32_t place);
  [[nodiscard]] expected<> launch_kernel(const kernel_work& work, const copy_args& args,
                                         std::uint32_t blocks) const;
  [[nodiscard]] expected<> start_kernel(std::span<const stretch> stretches,
                                        const copy_pair* uploaded, copy_args& args,
                                        const kernel_work& work);

  copy_engine_options options_;
  abort_board* aborts_ = nullptr;
  std::uint32_t first_word_ = 0;
  gpu_stream stream_;
  device_buffer counter_;
  pair_ring ring_;
  std::vector<gpu_event> ended_; ///< of each place
  std::deque<flight> flights_;
  std::uint64_t launches_ = 0;
  std::uint64_t piece_pairs_ = 0; ///< most pairs of the next piece
};

} // namespace baton
