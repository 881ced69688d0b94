#include "examples/bench/gpu_kernels.hpp"

#include <cuda_bf16.h>
#include <cuda_pipeline.h>
#include <cuda_runtime_api.h>
#include <mma.h>

#include "messages/convert_bits.hpp"

namespace baton::bench::kernels {
namespace {

constexpr std::uint32_t threads = 256;
constexpr std::uint32_t warps = threads / 32;
/// Enough for any GPU to be full; each takes what is left to do.
constexpr std::uint32_t content_blocks = 2048;

problem outcome(cudaError_t status) noexcept {
  return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

cudaStream_t raw(void* stream) noexcept {
  return static_cast<cudaStream_t>(stream);
}

/// The finalizer of splitmix64: any two inputs give outputs that look unrelated.
__device__ std::uint64_t mixed(std::uint64_t number) {
  number += 0x9e3779b97f4a7c15;
  number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9;
  number = (number ^ (number >> 27)) * 0x94d049bb133111eb;
  return number ^ (number >> 31);
}

/// The 16 bytes at one place of the logical cache.
__device__ uint4 value_at(std::uint64_t seed, std::uint64_t place) {
  const std::uint64_t low = mixed(seed + 2 * place);
  const std::uint64_t high = mixed(seed + 2 * place + 1);
  return {static_cast<unsigned>(low), static_cast<unsigned>(low >> 32), static_cast<unsigned>(high),
          static_cast<unsigned>(high >> 32)};
}

__device__ unsigned different_bytes(unsigned a, unsigned b) {
  return __popc(__vcmpne4(a, b)) / 8;
}

__device__ unsigned different_bytes(uint4 a, uint4 b) {
  return different_bytes(a.x, b.x) + different_bytes(a.y, b.y) + different_bytes(a.z, b.z) +
         different_bytes(a.w, b.w);
}

__device__ uint4 repeated(unsigned byte) {
  const unsigned word = byte * 0x01010101u;
  return {word, word, word, word};
}

__device__ unsigned size_in(element_type type) {
  return type == element_type::fp32                                 ? 4
         : type == element_type::bf16 || type == element_type::fp16 ? 2
                                                                    : 1;
}

__device__ unsigned converted(const element_conversion& as, unsigned element) {
  const unsigned wide = as.from == element_type::bf16   ? bits::fp32_of_bf16(element)
                        : as.from == element_type::fp16 ? bits::fp32_of_fp16(element)
                                                        : element;
  return as.to == element_type::bf16   ? bits::bf16_of_fp32(wide)
         : as.to == element_type::fp16 ? bits::fp16_of_fp32(wide)
         : as.to == element_type::fp32 ? wide
                                       : bits::narrowed<element_type::fp8_e4m3>(wide, as.factor);
}

/// Compares what 16 bytes became, and may clear it.
__device__ unsigned check_converted(const element_conversion& as, std::byte* at, const uint4& value,
                                    bool clear, unsigned untouched) {
  const unsigned read = size_in(as.from);
  const unsigned written = size_in(as.to);
  const unsigned words[4] = {value.x, value.y, value.z, value.w};
  unsigned wrong = 0;
  for (unsigned byte = 0; byte < 16; byte += read, at += written) {
    const unsigned element = words[byte / 4] >> byte % 4 * 8 & (0xffffffffu >> (32 - 8 * read));
    const unsigned wanted = converted(as, element);
    for (unsigned i = 0; i < written; ++i) {
      wrong += static_cast<unsigned>(at[i]) == (wanted >> 8 * i & 0xff) ? 0 : 1;
      if (clear)
        at[i] = static_cast<std::byte>(untouched);
    }
  }
  return wrong;
}

/// Calls `visit(word, value)` for each 16 bytes of the context's content; a warp takes a block of
/// one buffer at a time.
template <class Visit>
__device__ void for_each_word(const content& what, Visit visit) {
  const std::uint64_t units = std::uint64_t{what.view_count} * what.block_count;
  const std::uint64_t tokens = std::uint64_t{what.block_count} * what.tokens_per_block;
  const std::uint32_t row = what.row_words;
  const std::uint32_t head_words = what.tokens_per_block * row;
  const std::uint64_t word_bytes = sizeof(uint4) / size_in(what.as.from) * size_in(what.as.to);
  for (std::uint64_t unit = blockIdx.x * warps + threadIdx.x / 32; unit < units;
       unit += std::uint64_t{gridDim.x} * warps) {
    const buffer_view view = what.views[unit / what.block_count];
    const std::uint64_t block = unit % what.block_count;
    std::byte* const slot = what.pool + view.offset + what.blocks[block] * view.slot_stride;
    const std::uint64_t buffer = std::uint64_t{view.layer} * 8 + view.role;
    for (std::uint32_t i = threadIdx.x % 32; i < view.heads * head_words; i += 32) {
      const std::uint32_t head = i / head_words;
      const std::uint32_t token = i % head_words / row;
      const std::uint32_t word = i % row;
      const std::uint64_t place = ((buffer * what.total_heads + view.first_head + head) * tokens +
                                   block * what.tokens_per_block + token) *
                                      row +
                                  word;
      std::byte* const at =
          slot + head * view.head_stride + token * view.token_stride + word * word_bytes;
      visit(reinterpret_cast<uint4*>(at), value_at(what.seed, place));
    }
  }
}

/// Adds up over the warp, and to `*sum` if there is something to add.
__device__ void add_to(std::uint64_t* sum, std::uint64_t count) {
  for (int step = 16; step > 0; step /= 2)
    count += __shfl_down_sync(0xffffffffu, count, step);
  if (threadIdx.x % 32 == 0 && count > 0)
    atomicAdd(reinterpret_cast<unsigned long long*>(sum), count);
}

__global__ void __launch_bounds__(threads) write_kernel(const __grid_constant__ content what) {
  for_each_word(what, [](uint4* word, uint4 value) { *word = value; });
}

__global__ void __launch_bounds__(threads)
    check_kernel(const __grid_constant__ content what, bool clear, unsigned untouched,
                 std::uint64_t* wrong) {
  std::uint64_t count = 0;
  const bool converts = what.as.from != what.as.to;
  for_each_word(what, [&](uint4* word, uint4 value) {
    if (converts) {
      count +=
          check_converted(what.as, reinterpret_cast<std::byte*>(word), value, clear, untouched);
      return;
    }
    count += different_bytes(*word, value);
    if (clear)
      *word = repeated(untouched);
  });
  __syncwarp();
  add_to(wrong, count);
}

__global__ void __launch_bounds__(threads)
    touched_kernel(const uint4* memory, std::size_t words, unsigned untouched,
                   std::uint64_t* touched) {
  std::uint64_t count = 0;
  for (std::size_t i = std::size_t{blockIdx.x} * threads + threadIdx.x; i < words;
       i += std::size_t{gridDim.x} * threads)
    count += different_bytes(memory[i], repeated(untouched));
  __syncwarp();
  add_to(touched, count);
}

// The matrix product.

constexpr int tile = 128;
constexpr int depth = 32;
constexpr int piece = 8;       ///< elements that one asynchronous copy brings: 16 bytes
constexpr int padding = piece; ///< so that the rows of a tile start in different banks
constexpr int fragment = 16;
constexpr int warp_rows = 64;
constexpr int warp_columns = 32;
static_assert(tile / warp_rows * (tile / warp_columns) == warps);

struct alignas(128) tiles {
  __nv_bfloat16 a[tile][depth + padding];
  __nv_bfloat16 b[depth][tile + padding];
};

/// Starts to bring the tiles of one step: rows of `a` from `a`, columns of `b` from `b` on.
__device__ void fetch(tiles& to, const __nv_bfloat16* a, const __nv_bfloat16* b, std::size_t n) {
  constexpr int pieces = tile * depth / piece;
  for (int i = static_cast<int>(threadIdx.x); i < pieces; i += threads) {
    const int row = i / (depth / piece);
    const int column = i % (depth / piece) * piece;
    __pipeline_memcpy_async(&to.a[row][column], a + row * n + column, sizeof(uint4));
  }
  for (int i = static_cast<int>(threadIdx.x); i < pieces; i += threads) {
    const int row = i / (tile / piece);
    const int column = i % (tile / piece) * piece;
    __pipeline_memcpy_async(&to.b[row][column], b + row * n + column, sizeof(uint4));
  }
  __pipeline_commit();
}

__global__ void __launch_bounds__(threads, 2)
    multiply_kernel(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, std::uint32_t n) {
  namespace wmma = nvcuda::wmma;
  using part_of_a =
      wmma::fragment<wmma::matrix_a, fragment, fragment, fragment, __nv_bfloat16, wmma::row_major>;
  using part_of_b =
      wmma::fragment<wmma::matrix_b, fragment, fragment, fragment, __nv_bfloat16, wmma::row_major>;
  using part_of_c = wmma::fragment<wmma::accumulator, fragment, fragment, fragment, float>;
  __shared__ tiles shared[2];
  const std::size_t row = std::size_t{blockIdx.y} * tile;
  const std::size_t column = std::size_t{blockIdx.x} * tile;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / (tile / warp_columns) * warp_rows;
  const int warp_column = warp % (tile / warp_columns) * warp_columns;
  part_of_c sums[warp_rows / fragment][warp_columns / fragment];
  for (auto& line : sums)
    for (auto& sum : line)
      wmma::fill_fragment(sum, 0.0f);
  const __nv_bfloat16* const a_tile = a + row * n;
  const __nv_bfloat16* const b_tile = b + column;
  fetch(shared[0], a_tile, b_tile, n);
  for (std::uint32_t k = 0; k < n; k += depth) {
    tiles& now = shared[k / depth % 2];
    if (k + depth < n) {
      fetch(shared[(k / depth + 1) % 2], a_tile + k + depth, b_tile + (k + depth) * std::size_t{n},
            n);
      __pipeline_wait_prior(1);
    } else {
      __pipeline_wait_prior(0);
    }
    __syncthreads();
    for (int inner = 0; inner < depth; inner += fragment) {
      part_of_a left[warp_rows / fragment];
      part_of_b right[warp_columns / fragment];
      for (int i = 0; i < warp_rows / fragment; ++i)
        wmma::load_matrix_sync(left[i], &now.a[warp_row + i * fragment][inner], depth + padding);
      for (int j = 0; j < warp_columns / fragment; ++j)
        wmma::load_matrix_sync(right[j], &now.b[inner][warp_column + j * fragment], tile + padding);
      for (int i = 0; i < warp_rows / fragment; ++i)
        for (int j = 0; j < warp_columns / fragment; ++j)
          wmma::mma_sync(sums[i][j], left[i], right[j], sums[i][j]);
    }
    __syncthreads();
  }
  for (int i = 0; i < warp_rows / fragment; ++i)
    for (int j = 0; j < warp_columns / fragment; ++j)
      wmma::store_matrix_sync(c + (row + warp_row + i * fragment) * n + column + warp_column +
                                  j * fragment,
                              sums[i][j], n, wmma::mem_row_major);
}

__global__ void __launch_bounds__(threads) fill_kernel(__nv_bfloat16* matrix, std::uint64_t seed) {
  const std::size_t at = std::size_t{blockIdx.x} * threads + threadIdx.x;
  const auto random = static_cast<std::int32_t>(mixed(seed + at) >> 33); // 31 bits
  matrix[at] = __float2bfloat16(static_cast<float>(random) * 0x1p-30f - 1.0f);
}

constexpr std::uint32_t adds_per_thread = 4; ///< of four floats each

__global__ void __launch_bounds__(threads) add_kernel(const float4* x, float4* y) {
  const std::size_t first = std::size_t{blockIdx.x} * threads * adds_per_thread + threadIdx.x;
#pragma unroll
  for (std::uint32_t i = 0; i < adds_per_thread; ++i) {
    const float4 more = x[first + i * threads];
    float4 sum = y[first + i * threads];
    sum.x += more.x;
    sum.y += more.y;
    sum.z += more.z;
    sum.w += more.w;
    y[first + i * threads] = sum;
  }
}

} // namespace

problem write_content(const content& what, void* stream) noexcept {
  write_kernel<<<content_blocks, threads, 0, raw(stream)>>>(what);
  return outcome(cudaGetLastError());
}

problem check_content(const content& what, bool clear, std::byte untouched, std::uint64_t* wrong,
                      void* stream) noexcept {
  check_kernel<<<content_blocks, threads, 0, raw(stream)>>>(
      what, clear, static_cast<unsigned>(untouched), wrong);
  return outcome(cudaGetLastError());
}

problem count_touched(const std::byte* memory, std::size_t bytes, std::byte untouched,
                      std::uint64_t* touched, void* stream) noexcept {
  touched_kernel<<<content_blocks, threads, 0, raw(stream)>>>(
      reinterpret_cast<const uint4*>(memory), bytes / sizeof(uint4),
      static_cast<unsigned>(untouched), touched);
  return outcome(cudaGetLastError());
}

problem copy_each(const copy_list& copies, void* stream) noexcept {
  for (std::size_t i = 0; i < copies.count; ++i)
    if (const auto status = cudaMemcpyAsync(copies.to[i], copies.from[i], copies.bytes[i],
                                            cudaMemcpyDefault, raw(stream));
        status != cudaSuccess)
      return outcome(status);
  return nullptr;
}

problem copy_batch(const copy_list& copies, void* stream) noexcept {
  cudaMemcpyAttributes how{};
  how.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
  std::size_t from_first_on = 0;
#if CUDART_VERSION >= 13000
  return outcome(cudaMemcpyBatchAsync(copies.to, copies.from, copies.bytes, copies.count, &how,
                                      &from_first_on, 1, raw(stream)));
#else
  std::size_t failed = 0;
  return outcome(cudaMemcpyBatchAsync(const_cast<void**>(copies.to),
                                      const_cast<void**>(copies.from),
                                      const_cast<std::size_t*>(copies.bytes), copies.count, &how,
                                      &from_first_on, 1, &failed, raw(stream)));
#endif
}

problem make_stream(void** stream) noexcept {
  cudaStream_t made = nullptr;
  const auto status = cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking);
  *stream = made;
  return outcome(status);
}

void drop_stream(void* stream) noexcept {
  static_cast<void>(cudaStreamDestroy(raw(stream)));
}

problem multiply(const void* a, const void* b, float* c, std::uint32_t n, void* stream) noexcept {
  multiply_kernel<<<dim3{n / tile, n / tile}, threads, 0, raw(stream)>>>(
      static_cast<const __nv_bfloat16*>(a), static_cast<const __nv_bfloat16*>(b), c, n);
  return outcome(cudaGetLastError());
}

problem fill_matrix(void* matrix, std::size_t count, std::uint64_t seed, void* stream) noexcept {
  fill_kernel<<<static_cast<unsigned>(count / threads), threads, 0, raw(stream)>>>(
      static_cast<__nv_bfloat16*>(matrix), seed);
  return outcome(cudaGetLastError());
}

problem add_arrays(const float* x, float* y, std::size_t count, void* stream) noexcept {
  const auto blocks = count / (std::size_t{4} * threads * adds_per_thread);
  add_kernel<<<static_cast<unsigned>(blocks), threads, 0, raw(stream)>>>(
      reinterpret_cast<const float4*>(x), reinterpret_cast<float4*>(y));
  return outcome(cudaGetLastError());
}

} // namespace baton::bench::kernels
