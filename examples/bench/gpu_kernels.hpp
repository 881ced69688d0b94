#pragma once

#include <cstddef>
#include <cstdint>

#include "messages/conversion.hpp"

/// The kernels of the bench, and the CUDA calls that it is compared with. Streams are handles of
/// CUDA. Nothing here waits for the GPU. Every function needs the GPU to be current (`gpu_scope`)
/// and returns null, or what CUDA said.
namespace baton::bench::kernels {

/// What a call returns if it failed.
using problem = const char*;

/// One buffer of a cache as kernels see it: where (slot, head, token) lies. Bytes.
struct buffer_view {
  std::uint64_t offset = 0;
  std::uint64_t slot_stride = 0;
  std::uint64_t head_stride = 0;
  std::uint64_t token_stride = 0;
  std::uint32_t layer = 0;
  std::uint32_t role = 0;
  std::uint32_t first_head = 0; ///< global
  std::uint32_t heads = 0;      ///< held here
};

/// The tokens of a cache in their blocks, of which the kernels know every byte: it follows from
/// seed, layer, role, head, token and place within the row, and from how it was converted.
struct content {
  std::byte* pool = nullptr;
  const buffer_view* views = nullptr; ///< on the GPU, as are the blocks
  const std::uint32_t* blocks = nullptr;
  std::uint32_t view_count = 0;
  std::uint32_t block_count = 0; ///< `blocks[i]` holds the tokens from i * `tokens_per_block` on
  std::uint32_t tokens_per_block = 0;
  std::uint32_t total_heads = 0; ///< of the model
  std::uint32_t row_words = 0;   ///< 16 bytes of the context each: a (head, token) of one buffer
  element_conversion as{};       ///< of what the context has
  std::uint64_t seed = 0;
};

/// Writes the content; it is not converted.
[[nodiscard]] problem write_content(const content& what, void* stream) noexcept;

/// Adds the number of wrong bytes to `*wrong`, which lies on the GPU.
///
/// @param clear whether to set what was looked at to `untouched`.
[[nodiscard]] problem check_content(const content& what, bool clear, std::byte untouched,
                                    std::uint64_t* wrong, void* stream) noexcept;

/// Adds the number of bytes that are not `untouched` to `*touched`, which lies on the GPU.
///
/// @param bytes a multiple of 16, as is the address.
[[nodiscard]] problem count_touched(const std::byte* memory, std::size_t bytes, std::byte untouched,
                                    std::uint64_t* touched, void* stream) noexcept;

/// Copies of equal size.
struct copy_list {
  void* const* to = nullptr;
  const void* const* from = nullptr;
  const std::size_t* bytes = nullptr; ///< of each
  std::size_t count = 0;
};

/// One `cudaMemcpyAsync` after the other.
[[nodiscard]] problem copy_each(const copy_list& copies, void* stream) noexcept;

/// One `cudaMemcpyBatchAsync`.
[[nodiscard]] problem copy_batch(const copy_list& copies, void* stream) noexcept;

/// Makes a stream of the priority that a model's work has by default: the lowest.
[[nodiscard]] problem make_stream(void** stream) noexcept;
void drop_stream(void* stream) noexcept;

/// Multiplies two row-major n x n matrices of bf16 into one of float, n a multiple of 128.
///
/// A plain tensor-core kernel: WMMA 16x16x16, tiles of 128 x 128 x 32 in shared memory, filled by
/// asynchronous copies one step ahead; 256 threads a block.
[[nodiscard]] problem multiply(const void* a, const void* b, float* c, std::uint32_t n,
                               void* stream) noexcept;

/// Fills a matrix of bf16 with numbers between -1 and 1.
///
/// @param count a multiple of 256.
[[nodiscard]] problem fill_matrix(void* matrix, std::size_t count, std::uint64_t seed,
                                  void* stream) noexcept;

/// y += x: reads two arrays and writes one, with next to nothing to compute.
///
/// @param count a multiple of 4096.
[[nodiscard]] problem add_arrays(const float* x, float* y, std::size_t count,
                                 void* stream) noexcept;

} // namespace baton::bench::kernels
