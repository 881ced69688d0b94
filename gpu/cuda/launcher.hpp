#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "gpu/copy_engine.hpp"
#include "gpu/cuda/copy_args.hpp"
#include "gpu/cuda/shape_storage.hpp"
#include "gpu/memory.hpp"
#include "gpu/stream.hpp"

namespace baton {

/// One stream of an engine, with the memory that its launches need. Pairs of slots go through a
/// ring of host memory that kernels read in place: a copy to the GPU first would cost more than it
/// saves. The engine's context is current in all calls.
class launcher {
public:
  [[nodiscard]] static expected<launcher> create(const copy_engine_options& options);

  /// Launches the next piece of an order, from stream byte `from`: as much as ring and arguments
  /// take.
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
  /// Gives up memory that a hung kernel may still use.
  void leak() noexcept;

private:
  /// Pairs of one part that lie in a row in the ring.
  struct stretch {
    const copy_shape* shape = nullptr;
    const copy_pair* pairs = nullptr; ///< as kernels see them
    std::uint64_t count = 0;
    std::uint64_t stream = 0; ///< where the first pair starts
    std::uint64_t begin = 0;  ///< what of the stream is to be moved
    std::uint64_t end = 0;
  };
  /// A launch on the GPU.
  struct flight {
    std::uint64_t tag = 0;
    std::uint64_t ring_end = 0; ///< pairs of the ring up to here are free after it
    std::uint32_t place = 0;    ///< which event and abort word it uses
  };
  using list_member = tile_list copy_shape::storage::*;

  launcher() = default;
  [[nodiscard]] std::vector<stretch> gather(const copy_order& order, std::uint64_t from);
  [[nodiscard]] std::optional<stretch> next_stretch(const copy_order& order, std::uint64_t from,
                                                    std::uint64_t most_pairs);
  [[nodiscard]] expected<> start(const std::vector<stretch>& stretches, const copy_order& order,
                                 std::uint32_t place);
  [[nodiscard]] expected<> start_kernel(const std::vector<stretch>& stretches,
                                        const copy_order& order, std::uint32_t place,
                                        list_member list, bool bulk);
  [[nodiscard]] std::uint32_t& abort_word(std::uint32_t place) const noexcept;

  copy_engine_options options_;
  gpu_stream stream_;
  device_buffer counter_;
  pinned_buffer host_; ///< abort words, then the ring
  std::vector<gpu_event> events_;
  std::deque<flight> flights_;
  std::uint64_t taken_ = 0; ///< pairs of the ring, ever
  std::uint64_t freed_ = 0;
  std::uint32_t next_place_ = 0;
};

} // namespace baton
