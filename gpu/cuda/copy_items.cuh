#pragma once

#include "gpu/cuda/copy_args.hpp"

namespace baton::device {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

inline constexpr u32 all_lanes = 0xffffffffu;
inline constexpr u32 warp_lanes = 32;

__device__ inline u32 lane_index() {
  return threadIdx.x % warp_lanes;
}

/// A contiguous copy of one lane.
struct item {
  u64 source;
  u64 destination;
  u32 bytes;  ///< of the source; 0: none
  u32 detail; ///< of its tile: the last word
};

/// What becomes of bytes that are only copied.
struct as_it_is {
  __device__ static u64 written(u64 bytes) { return bytes; }
};

/// Hands batches of items to a warp, one item to a lane. Descriptors and the abort word are fetched
/// one batch ahead and the place in the queue two, so that none of their latencies is seen.
///
/// @tparam conversion tells how many bytes are written for those that are read.
template <class conversion = as_it_is>
class item_feed {
public:
  __device__ explicit item_feed(const copy_args& args)
      : args_{args},
        begin_{(threadIdx.x / warp_lanes * gridDim.x + blockIdx.x) * args.batch},
        shared_{blockDim.x / warp_lanes * gridDim.x * args.batch} {
    poll();
    fetch();
    grab();
  }

  /// Whether there is another batch, and this lane's item of it. Called by all lanes.
  __device__ bool next(item& mine) {
    if (begin_ >= args_.items || __any_sync(all_lanes, stopped_ == args_.launch))
      return false;
    mine = resolve();
    begin_ = shared_ + __shfl_sync(all_lanes, taken_, 0);
    fetch();
    grab();
    poll();
    return true;
  }

private:
  __device__ void poll() {
    if (lane_index() == 0)
      asm volatile("ld.relaxed.sys.global.u64 %0, [%1];"
                   : "=l"(stopped_)
                   : "l"(args_.abort)
                   : "memory");
  }

  __device__ void grab() {
    if (lane_index() == 0)
      taken_ = atomicAdd(&args_.counter->taken, args_.batch);
  }

  __device__ void fetch() {
    const u32 number = begin_ + lane_index();
    valid_ = lane_index() < args_.batch && number < args_.items;
    if (!valid_)
      return;
    u32 index = 0;
    u32 start = 0;
    while (number >= args_.segments[index].end)
      start = args_.segments[index++].end;
    const copy_segment& part = args_.segments[index];
    const u32 local = number - start + part.first;
    const u32 pair = local / part.tile_count;
    const auto* tile =
        reinterpret_cast<const uint4*>(part.tiles + (local - pair * part.tile_count));
    addresses_ = tile[0];
    strides_ = tile[1];
    place_ = tile[2];
    if (part.pairs != nullptr) {
      slots_ = *reinterpret_cast<const uint2*>(part.pairs + pair);
    } else {
      const copy_pair& slots = args_.few[part.few + pair];
      slots_ = {slots.source, slots.destination};
    }
    stream_ = part.stream + pair * part.shape_bytes;
  }

  __device__ static u64 wide(u32 low, u32 high) { return u64{high} << 32 | low; }

  __device__ item resolve() const {
    if (!valid_)
      return {0, 0, 0, 0};
    const u64 position = stream_ + wide(place_.x, place_.y);
    const u64 from = max(position, args_.begin);
    const u64 to = min(position + place_.z, args_.end);
    const u64 buffer = reinterpret_cast<u64>(args_.buffer) + (from - args_.begin);
    const u64 source = wide(addresses_.x, addresses_.y) + slots_.x * wide(strides_.x, strides_.y) +
                       (from - position);
    const u64 destination = wide(addresses_.z, addresses_.w) +
                            slots_.y * wide(strides_.z, strides_.w) +
                            conversion::written(from - position);
    return {args_.way == copy_way::stream_to_pool ? buffer : source,
            args_.way == copy_way::pool_to_stream ? buffer : destination,
            static_cast<u32>(to - from), place_.w};
  }

  const copy_args& args_;
  u32 begin_;
  const u32 shared_; ///< where the items start that are not handed out beforehand
  u32 taken_ = 0;
  u64 stopped_ = 0; ///< of lane 0: the launch that has to stop
  bool valid_ = false;
  uint4 addresses_, strides_, place_;
  uint2 slots_;
  u64 stream_;
};

/// The items of a warp laid end to end, each as a number of equal units, so that all lanes find
/// work however short the items are.
class unit_line {
public:
  /// @param units of this lane's item; lanes without one come last and pass 0.
  __device__ explicit unit_line(u32 units) {
    u32 sum = units;
    for (u32 step = 1; step < warp_lanes; step *= 2) {
      const u32 before = __shfl_up_sync(all_lanes, sum, step);
      sum += lane_index() >= step ? before : 0;
    }
    start_ = sum - units;
    total_ = __shfl_sync(all_lanes, sum, warp_lanes - 1);
  }

  [[nodiscard]] __device__ u32 total() const { return total_; }

  /// Moves on to the `count` units after those of the last call, one for a lane, and returns which
  /// item each belongs to. `count` is at most 32, and the same in all calls.
  __device__ u32 take(u32 count) {
    const u32 ahead = start_ - base_ - 1;
    const u32 starts = __reduce_or_sync(all_lanes, ahead < count ? 1u << ahead : 0u);
    const u32 mine = first_ + __popc(starts & ((1u << lane_index()) - 1));
    first_ += __popc(starts);
    base_ += count;
    return mine;
  }

  /// This lane's item's first unit.
  [[nodiscard]] __device__ u32 start() const { return start_; }

private:
  u32 start_;
  u32 total_;
  u32 base_ = 0;
  u32 first_ = 0; ///< item of unit `base_`
};

/// The last block to end makes the counter ready for the next launch. Called by all threads.
__device__ inline void leave(copy_counter* counter) {
  __syncthreads();
  if (threadIdx.x != 0)
    return;
  // What the others took from the counter comes before it is cleared.
  __threadfence();
  const bool last = atomicAdd(&counter->blocks_done, 1u) == gridDim.x - 1;
  __threadfence();
  if (last)
    *counter = {};
}

} // namespace baton::device
