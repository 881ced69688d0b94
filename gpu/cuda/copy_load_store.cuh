#pragma once

#include "gpu/cuda/copy_items.cuh"

namespace baton::device {

/// Loads that see what another GPU or the host wrote: never through the non-coherent path, nor from
/// a stale line of the first-level cache.
__device__ inline uint4 load_16(u64 from) {
  uint4 value;
  asm volatile("ld.relaxed.sys.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from)
               : "memory");
  return value;
}

__device__ inline void store_16(u64 to, const uint4& value) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(value.x), "r"(value.y),
               "r"(value.z), "r"(value.w)
               : "memory");
}

/// Loads 2^power bytes, for a power below 4.
__device__ inline uint2 load_short(u64 from, u32 power) {
  uint2 value = {0, 0};
  if (power == 3)
    asm volatile("ld.relaxed.sys.global.v2.u32 {%0, %1}, [%2];"
                 : "=r"(value.x), "=r"(value.y)
                 : "l"(from)
                 : "memory");
  else if (power == 2)
    asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(value.x) : "l"(from) : "memory");
  else if (power == 1)
    asm volatile("ld.relaxed.sys.global.u16 %0, [%1];" : "=r"(value.x) : "l"(from) : "memory");
  else
    asm volatile("ld.relaxed.sys.global.u8 %0, [%1];" : "=r"(value.x) : "l"(from) : "memory");
  return value;
}

__device__ inline void store_short(u64 to, u32 power, uint2 value) {
  if (power == 3)
    asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(to), "r"(value.x), "r"(value.y)
                 : "memory");
  else if (power == 2)
    asm volatile("st.global.u32 [%0], %1;" ::"l"(to), "r"(value.x) : "memory");
  else if (power == 1)
    asm volatile("st.global.u16 [%0], %1;" ::"l"(to), "r"(value.x) : "memory");
  else
    asm volatile("st.global.u8 [%0], %1;" ::"l"(to), "r"(value.x) : "memory");
}

/// Copies a batch in which everything is a multiple of 16. Each lane keeps `flights` loads in
/// flight.
template <u32 flights>
__device__ void copy_aligned(const item& mine) {
  unit_line line{mine.bytes / 16};
  // Relative to unit 0 of the whole line, so that the unit's number alone finds the address.
  const u64 source = mine.source - u64{line.start()} * 16;
  const u64 destination = mine.destination - u64{line.start()} * 16;
  for (u32 unit = lane_index(); unit - lane_index() < line.total(); unit += flights * warp_lanes) {
    uint4 value[flights];
    u64 to[flights];
#pragma unroll
    for (u32 i = 0; i < flights; ++i) {
      const u32 owner = line.take(warp_lanes);
      const u64 offset = u64{unit + i * warp_lanes} * 16;
      const u64 from = __shfl_sync(all_lanes, source, owner) + offset;
      to[i] = __shfl_sync(all_lanes, destination, owner) + offset;
      if (unit + i * warp_lanes < line.total())
        value[i] = load_16(from);
    }
#pragma unroll
    for (u32 i = 0; i < flights; ++i)
      if (unit + i * warp_lanes < line.total())
        store_16(to[i], value[i]);
  }
}

/// How an item of any alignment splits: `head` single bytes, then `body` words of 2^power bytes
/// that are aligned on both sides, then single bytes.
struct split {
  u32 head;
  u32 body;
  u32 power;

  __device__ explicit split(const item& whole) {
    const u32 skew = static_cast<u32>(whole.source - whole.destination) | 16u;
    power = min(static_cast<u32>(__ffs(static_cast<int>(skew))) - 1, 4u);
    head = min(static_cast<u32>(-whole.destination) & ((1u << power) - 1), whole.bytes);
    body = (whole.bytes - head) >> power;
  }
  __device__ split(u32 head_bytes, u32 packed)
      : head{head_bytes}, body{packed >> 3}, power{packed & 7} {}

  [[nodiscard]] __device__ u32 packed() const { return body << 3 | power; }
  [[nodiscard]] __device__ u32 units(u32 bytes) const { return bytes - (body << power) + body; }
};

/// One unit of a line: 2^power bytes.
struct unit_copy {
  u64 from;
  u64 to;
  u32 power;
  bool valid;
};

__device__ inline unit_copy find_unit(unit_line& line, const item& mine, const split& cut,
                                      u32 unit) {
  const u32 owner = line.take(warp_lanes);
  const u64 source = __shfl_sync(all_lanes, mine.source, owner);
  const u64 destination = __shfl_sync(all_lanes, mine.destination, owner);
  const split its{__shfl_sync(all_lanes, cut.head, owner),
                  __shfl_sync(all_lanes, cut.packed(), owner)};
  const u32 index = unit - __shfl_sync(all_lanes, line.start(), owner);
  const u32 past_head = index - min(index, its.head);
  const u32 words = min(past_head, its.body);
  const u32 offset = min(index, its.head) + (words << its.power) + (past_head - words);
  const bool single = index < its.head || past_head >= its.body;
  return {source + offset, destination + offset, single ? 0 : its.power, unit < line.total()};
}

/// Copies a batch of any alignment and size.
template <u32 flights>
__device__ void copy_ragged(const item& mine) {
  const split cut{mine};
  unit_line line{cut.units(mine.bytes)};
  for (u32 unit = lane_index(); unit - lane_index() < line.total(); unit += flights * warp_lanes) {
    uint4 value[flights];
    unit_copy copy[flights];
#pragma unroll
    for (u32 i = 0; i < flights; ++i) {
      copy[i] = find_unit(line, mine, cut, unit + i * warp_lanes);
      if (copy[i].valid && copy[i].power == 4) {
        value[i] = load_16(copy[i].from);
      } else if (copy[i].valid) {
        const uint2 part = load_short(copy[i].from, copy[i].power);
        value[i] = {part.x, part.y, 0, 0};
      }
    }
#pragma unroll
    for (u32 i = 0; i < flights; ++i) {
      if (copy[i].valid && copy[i].power == 4)
        store_16(copy[i].to, value[i]);
      else if (copy[i].valid)
        store_short(copy[i].to, copy[i].power, {value[i].x, value[i].y});
    }
  }
}

template <u32 flights>
__device__ void copy_by_load_store(const copy_args& args) {
  item_feed<> feed{args};
  item mine;
  while (feed.next(mine)) {
    const u64 bits = mine.source | mine.destination | mine.bytes;
    if (__all_sync(all_lanes, bits % 16 == 0))
      copy_aligned<flights>(mine);
    else
      copy_ragged<4>(mine);
  }
  leave(args.counter);
}

} // namespace baton::device
