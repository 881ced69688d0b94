#include "gpu/cuda/abort_board.hpp"

#include <chrono>
#include <cstring>

#include "gpu/cuda/call.hpp"

namespace baton {
namespace {

// Words that are polled by different kernels lie in different sectors of the cache.
constexpr std::size_t stride = 32;

bool writes_words(int device) {
  CUdevice number = 0;
  int can = 0;
  return call(&driver_api::device_get, "cuDeviceGet", &number, device) &&
         call(&driver_api::device_attribute, "cuDeviceGetAttribute", &can,
              CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, number) &&
         can != 0;
}

} // namespace

expected<abort_board> abort_board::create(int device, std::uint32_t words) {
  abort_board made;
  auto stream = gpu_stream::create(device, gpu_priority::urgent);
  if (!stream)
    return fail(stream.error());
  made.stream_ = std::move(*stream);
  auto memory = device_buffer::create(device, words * stride);
  if (!memory)
    return fail(memory.error());
  made.words_ = std::move(*memory);
  auto source = pinned_buffer::create(device, words * stride);
  if (!source)
    return fail(source.error());
  made.source_ = std::move(*source);
  made.can_write_ = writes_words(device);
  auto cleared =
      fill_async(made.words_.data(), std::byte{0}, made.words_.size(), made.stream_.ref());
  if (cleared)
    cleared = finish(made.stream_.ref(), std::chrono::seconds{10});
  if (!cleared)
    return fail(cleared.error());
  return made;
}

const std::uint64_t* abort_board::word(std::uint32_t index) const noexcept {
  return reinterpret_cast<const std::uint64_t*>(words_.data() + index * stride);
}

void abort_board::raise(std::uint32_t index, std::uint64_t launch) noexcept {
  std::byte* const to = words_.data() + index * stride;
  if (can_write_ && call(&driver_api::stream_write, "cuStreamWriteValue64",
                         static_cast<CUstream>(stream_.ref().handle),
                         reinterpret_cast<CUdeviceptr>(to), cuuint64_t{launch}, 0u))
    return;
  std::byte* const from = source_.data() + index * stride;
  std::memcpy(from, &launch, sizeof launch);
  // If this fails as well, CUDA is lost, and with it the kernel.
  static_cast<void>(copy_async(to, from, sizeof launch, stream_.ref()));
}

} // namespace baton
