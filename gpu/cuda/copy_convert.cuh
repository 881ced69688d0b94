#pragma once

#include "gpu/cuda/convert_units.cuh"

namespace baton::device {

/// The exponent of a power of 2.
__device__ constexpr u32 power_of(u32 bytes) {
  return bytes == 16 ? 4 : bytes == 8 ? 3 : bytes == 4 ? 2 : bytes == 2 ? 1 : 0;
}

template <u32 bytes>
__device__ uint4 load_unit(u64 from) {
  if constexpr (bytes == 16)
    return load_16(from);
  const uint2 part = load_short(from, power_of(bytes));
  return {part.x, part.y, 0, 0};
}

template <u32 bytes>
__device__ void store_unit(u64 to, const uint4& value) {
  if constexpr (bytes == 16)
    store_16(to, value);
  else
    store_short(to, power_of(bytes), {value.x, value.y});
}

/// Whether units of an item can be loaded and stored as a whole.
template <class conversion>
__device__ bool is_aligned(const item& one) {
  return (one.source | one.bytes) % conversion::unit_read == 0 &&
         one.destination % conversion::unit_written == 0;
}

/// Converts a batch of whole units. Where they go is only worked out when they have come: registers
/// are what limits the loads in flight.
template <class conversion>
__device__ void convert_aligned(const item& mine) {
  constexpr u32 flights = conversion::flights;
  static_assert(flights % 4 == 0);
  constexpr u32 unit_read = conversion::unit_read;
  constexpr u32 unit_written = conversion::unit_written;
  unit_line line{mine.bytes / unit_read};
  // Relative to unit 0 of the whole line, so that the unit's number alone finds the address.
  const u64 source = mine.source - u64{line.start()} * unit_read;
  const u64 destination = mine.destination - u64{line.start()} * unit_written;
  for (u32 unit = lane_index(); unit - lane_index() < line.total(); unit += flights * warp_lanes) {
    uint4 value[flights];
    u32 owners[flights / 4]; // four in each
#pragma unroll
    for (u32 i = 0; i < flights; ++i) {
      const u32 owner = line.take(warp_lanes);
      const u32 number = unit + i * warp_lanes;
      owners[i / 4] = i % 4 == 0 ? owner : owners[i / 4] | owner << i % 4 * 8;
      const u64 from = __shfl_sync(all_lanes, source, owner) + u64{number} * unit_read;
      if (number < line.total())
        value[i] = load_unit<unit_read>(from);
    }
#pragma unroll
    for (u32 i = 0; i < flights; ++i) {
      const u32 owner = owners[i / 4] >> i % 4 * 8 & 0xff;
      const u32 number = unit + i * warp_lanes;
      const u64 to = __shfl_sync(all_lanes, destination, owner) + u64{number} * unit_written;
      float factor = 1;
      if constexpr (conversion::scales)
        factor = __uint_as_float(__shfl_sync(all_lanes, mine.detail, owner));
      if (number < line.total())
        store_unit<unit_written>(to, conversion::convert(value[i], factor));
    }
  }
}

/// Loads an element of any alignment.
template <u32 bytes>
__device__ u32 load_element(u64 from) {
  if (from % bytes == 0)
    return load_short(from, power_of(bytes)).x;
  u32 element = 0;
  for (u32 i = 0; i < bytes; ++i)
    element |= load_short(from + i, 0).x << 8 * i;
  return element;
}

template <u32 bytes>
__device__ void store_element(u64 to, u32 element) {
  if (to % bytes == 0)
    return store_short(to, power_of(bytes), {element, 0});
  for (u32 i = 0; i < bytes; ++i)
    store_short(to + i, 0, {element >> 8 * i, 0});
}

/// Converts a batch of any alignment and size, element by element.
template <class conversion, u32 flights>
__device__ void convert_ragged(const item& mine) {
  unit_line line{mine.bytes / conversion::read_bytes};
  const u64 source = mine.source - u64{line.start()} * conversion::read_bytes;
  const u64 destination = mine.destination - u64{line.start()} * conversion::write_bytes;
  for (u32 unit = lane_index(); unit - lane_index() < line.total(); unit += flights * warp_lanes) {
    u32 value[flights];
    u64 to[flights];
    float factor[flights];
#pragma unroll
    for (u32 i = 0; i < flights; ++i) {
      const u32 owner = line.take(warp_lanes);
      const u64 number = unit + i * warp_lanes;
      const u64 from = __shfl_sync(all_lanes, source, owner) + number * conversion::read_bytes;
      to[i] = __shfl_sync(all_lanes, destination, owner) + number * conversion::write_bytes;
      factor[i] = __uint_as_float(__shfl_sync(all_lanes, mine.detail, owner));
      if (number < line.total())
        value[i] = load_element<conversion::read_bytes>(from);
    }
#pragma unroll
    for (u32 i = 0; i < flights; ++i)
      if (unit + i * warp_lanes < line.total())
        store_element<conversion::write_bytes>(to[i], conversion::convert_one(value[i], factor[i]));
  }
}

template <class conversion>
__device__ void copy_converted(const copy_args& args) {
  item_feed<conversion> feed{args};
  item mine;
  while (feed.next(mine)) {
    if (__all_sync(all_lanes, is_aligned<conversion>(mine)))
      convert_aligned<conversion>(mine);
    else
      convert_ragged<conversion, 4>(mine);
  }
  leave(args.counter);
}

} // namespace baton::device
