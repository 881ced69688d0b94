#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "gpu/copy_shape.hpp"
#include "gpu/event.hpp"
#include "messages/error.hpp"

namespace baton {

/// Which kernel moves the bytes of a pull. What is converted goes by load and store on every path.
enum class copy_path : std::uint8_t {
  automatic,  ///< bulk for what is aligned and long enough on sm_90 or later, load/store for the
              ///< rest
  load_store, ///< any alignment and size, any GPU of compute capability 8.0 or later
  bulk,       ///< bulk for everything that is aligned, however short; load/store for the rest
};

/// How many resources of the GPU, and of the host, an engine takes.
struct copy_engine_options {
  int device = 0;
  std::uint32_t thread_blocks = 16; ///< of one kernel; one occupies one multiprocessor, 1 to 1024
  std::uint32_t streams = 2;        ///< kernels that may run at a time, 1 to 16
  /// Pairs of slots in flight per stream, at least 2. Each takes 8 bytes of the GPU's memory, and
  /// as many of page-locked host memory.
  std::uint32_t ring_pairs = 512u << 10;
  copy_path path = copy_path::automatic;
};

/// One shape and the pairs of slots it is applied to.
struct copy_part {
  std::shared_ptr<const copy_shape> shape{};
  std::span<const copy_pair> pairs{};
};

/// A list of parts. Their bytes, in order (part by part, pair by pair, run by run), form the plan's
/// stream. Immutable; shared between launches.
class copy_plan {
public:
  /// @param parts all of the same way and engine.
  /// @param pairs_owner holds the memory of the pairs; kept for as long as the plan.
  copy_plan(std::vector<copy_part> parts, std::shared_ptr<const void> pairs_owner);

  [[nodiscard]] std::span<const copy_part> parts() const noexcept { return parts_; }
  /// Bytes of the whole stream.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return starts_.back(); }
  /// `starts()[i]`: where part i starts in the stream; one value more than parts.
  [[nodiscard]] std::span<const std::uint64_t> starts() const noexcept { return starts_; }

private:
  std::vector<copy_part> parts_;
  std::vector<std::uint64_t> starts_;
  std::shared_ptr<const void> owner_;
};

/// Names a launch of one engine. Never reused.
enum class copy_ticket : std::uint64_t {};

/// One launch. A pull ignores `buffer`.
struct copy_order {
  std::shared_ptr<const copy_plan> plan{};
  std::uint64_t begin = 0; ///< first byte of the plan's stream that moves
  std::uint64_t end = 0;   ///< one past the last
  /// Holds stream bytes [begin, end), in device memory or page-locked host memory.
  std::byte* buffer = nullptr;
  /// Nothing is read or written before it is complete. May be empty; must be neither destroyed nor
  /// recorded anew before the launch has ended.
  gpu_event_ref after{};
};

enum class copy_end : std::uint8_t {
  whole, ///< every byte is where it belongs, and visible to all GPUs, the host and other processes
  aborted, ///< `abort` came first: some bytes moved, some did not
  failed,  ///< CUDA failed; the destination holds garbage
};

struct copy_report {
  copy_ticket ticket = {};
  copy_end end = copy_end::whole;
  std::optional<error> problem{}; ///< only for `failed`
};

/// Moves the bytes of plans by kernels of its own on one GPU. Belongs to one thread, as do all
/// calls. No call but `create`, the destructor and `make_shape` waits for anything.
///
/// Launches are started in order, but end in any order. What was launched and has not yet reached
/// the GPU (it waits for its event, for room in the rings, or behind others) is kept on the host
/// and goes out from within `poll`, so poll while anything is open.
class copy_engine {
public:
  /// @returns `invalid_argument` for options outside their limits or an unknown GPU,
  ///          `out_of_resources`, or `gpu_failed`.
  [[nodiscard]] static expected<copy_engine> create(const copy_engine_options& options);

  copy_engine(copy_engine&&) noexcept;
  copy_engine& operator=(copy_engine&&) noexcept;
  /// Aborts what is open and waits until its kernels have ended; if one hangs for ten seconds,
  /// gives up the memory that it may still use instead of freeing it. (Whoever frees other memory
  /// of that GPU then waits for the kernel: CUDA does.)
  ~copy_engine();

  /// Uploads a template. Waits for this upload only (tens of microseconds; with a fresh arena slab
  /// it also allocates device memory).
  ///
  /// @param runs in stream order.
  /// @param lanes of the ways that read or write pools: addresses that this engine's GPU can use,
  ///        valid until the last job with this shape has ended.
  /// @returns `invalid_argument` for no run, an empty run or one that splits an element, an unknown
  ///          lane, a missing address, or a conversion that there is not;
  ///          `out_of_resources` if the GPU's memory is used up.
  [[nodiscard]] expected<std::shared_ptr<const copy_shape>>
  make_shape(copy_way way, std::span<const copy_run> runs, std::span<const copy_lane> lanes);

  /// Starts to move stream bytes [begin, end) of a plan. Slots and runs are not checked here:
  /// whoever made the plan has done so. Nor is it checked that the window splits no element that is
  /// converted.
  ///
  /// @returns a ticket that `poll` will report exactly once; `invalid_argument` for an empty or
  ///          foreign plan, a window outside of it, or a missing buffer.
  [[nodiscard]] expected<copy_ticket> launch(copy_order order);

  /// Gives up a launch. If it has not reached the GPU it ends with the next `poll`; a warp of a
  /// kernel looks at an abort word every 32 KiB that it copies, and ends within about a
  /// millisecond. Nothing happens for a ticket that has ended.
  void abort(copy_ticket ticket) noexcept;

  /// Starts what can start, and returns what has ended since the last call. Never blocks; costs a
  /// microsecond or two per kernel in flight. The span is valid until the next call.
  [[nodiscard]] std::span<const copy_report> poll();

  /// Launches that `poll` has not reported yet.
  [[nodiscard]] std::size_t open() const noexcept;

  /// The error of CUDA after which this engine launches nothing any more: one that is not of a
  /// single launch, but of the whole context.
  [[nodiscard]] std::optional<error> broken() const;

  [[nodiscard]] const copy_engine_options& options() const noexcept;

private:
  class impl;
  explicit copy_engine(std::unique_ptr<impl> inner) noexcept;

  std::unique_ptr<impl> impl_;
};

} // namespace baton
