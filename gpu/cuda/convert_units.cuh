#pragma once

#include "gpu/cuda/copy_load_store.cuh"
#include "messages/convert_bits.hpp"

namespace baton::device {

/// Two elements of 16 bits, in fp32.
template <element_type from>
__device__ inline float2 widen_pair(u32 both) {
  if constexpr (from == element_type::bf16)
    return {__uint_as_float(both << 16), __uint_as_float(both & 0xffff0000u)};
  float2 wide;
  asm("{\n.reg .b16 low, high;\n"
      "mov.b32 {low, high}, %2;\n"
      "cvt.f32.f16 %0, low;\n"
      "cvt.f32.f16 %1, high;\n}"
      : "=f"(wide.x), "=f"(wide.y)
      : "r"(both));
  return wide;
}

/// Two numbers as elements of 16 bits.
template <element_type to>
__device__ inline u32 narrow_pair(float low, float high) {
  u32 both;
  if constexpr (to == element_type::bf16)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

/// Four numbers as elements of fp8.
__device__ inline u32 narrow_four(const float* from) {
#if __CUDA_ARCH__ >= 890
  u32 all;
  asm("{\n.reg .b16 low, high;\n"
      "cvt.rn.satfinite.e4m3x2.f32 low, %2, %1;\n"
      "cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\n"
      "mov.b32 %0, {low, high};\n}"
      : "=r"(all)
      : "f"(from[0]), "f"(from[1]), "f"(from[2]), "f"(from[3]));
  return all;
#else
  u32 all = 0;
  for (u32 i = 0; i < 4; ++i)
    all |= bits::fp8_of_fp32(__float_as_uint(from[i])) << 8 * i;
  return all;
#endif
}

/// Conversion by units: as many elements as fill 16 bytes on the side where they are larger, so
/// that a warp reads and writes without gaps. The GPU's own instructions follow the rules of
/// messages/conversion.hpp to the last bit, NaN included.
template <element_type from, element_type to>
struct converter {
  static constexpr u32 read_bytes = size_of(from);
  static constexpr u32 write_bytes = size_of(to);
  static constexpr u32 elements = 16 / (read_bytes > write_bytes ? read_bytes : write_bytes);
  static constexpr u32 unit_read = elements * read_bytes;     ///< 8 or 16
  static constexpr u32 unit_written = elements * write_bytes; ///< 4 to 16
  static constexpr bool scales = to == element_type::fp8_e4m3;
  /// Loads that a lane keeps in flight, at 16 thread blocks of an H200 within its own memory: with
  /// 8, 12, 16 it reads 651, 616, 678 GB/s from bf16 to fp8, and 367, 402, 366 from bf16 to fp32.
  static constexpr u32 flights = unit_read == 16 ? 16 : 12;

  /// What of it is used depends on the unit's size.
  using unit = uint4;

  __device__ static u64 written(u64 bytes) { return bytes / read_bytes * write_bytes; }

  __device__ static unit convert(const unit& read, float factor) {
    const u32 words[4] = {read.x, read.y, read.z, read.w};
    float wide[elements];
#pragma unroll
    for (u32 i = 0; i < unit_read / 4; ++i) {
      if constexpr (read_bytes == 4) {
        wide[i] = __uint_as_float(words[i]);
      } else {
        const float2 pair = widen_pair<from>(words[i]);
        wide[2 * i] = pair.x;
        wide[2 * i + 1] = pair.y;
      }
    }
    return narrow(wide, factor);
  }

  __device__ static u32 convert_one(u32 element, float factor) {
    return bits::converted<from, to>(element, factor);
  }

private:
  __device__ static unit narrow(float* wide, float factor) {
    if constexpr (scales) {
#pragma unroll
      for (u32 i = 0; i < elements; ++i)
        wide[i] = __fmul_rn(wide[i], factor);
    }
    u32 made[4] = {};
#pragma unroll
    for (u32 i = 0; i < unit_written / 4; ++i) {
      if constexpr (write_bytes == 4)
        made[i] = __float_as_uint(wide[i]);
      else if constexpr (write_bytes == 2)
        made[i] = narrow_pair<to>(wide[2 * i], wide[2 * i + 1]);
      else
        made[i] = narrow_four(wide + 4 * i);
    }
    return {made[0], made[1], made[2], made[3]};
  }
};

} // namespace baton::device
