#include "gpu/stream.hpp"

#include <cuda_runtime_api.h>

#include <thread>

#include "gpu/cuda/call.hpp"
#include "gpu/cuda/context.hpp"
#include "gpu/device.hpp"
#include "gpu/event.hpp"

namespace baton {
namespace {

// Handles of the runtime are handles of the driver. The calls here are the driver's where those of
// the runtime would set up a context on GPU 0 for a thread that has none.
CUstream raw(gpu_stream_ref stream) {
  return static_cast<CUstream>(stream.handle);
}

} // namespace

expected<gpu_stream> gpu_stream::create(int device, gpu_priority priority) {
  if (auto known = known_gpu(device); !known)
    return fail(known.error());
  const gpu_scope scope{device};
  int least = 0;
  int greatest = 0;
  if (auto done = check(cudaDeviceGetStreamPriorityRange(&least, &greatest),
                        "cudaDeviceGetStreamPriorityRange");
      !done)
    return fail(done.error());
  // The smaller the number, the more urgent. A GPU with two levels has no room for three kinds.
  const bool apart = priority == gpu_priority::high && least - greatest > 1;
  const int level = apart ? greatest + 1 : greatest;
  cudaStream_t stream = nullptr;
  if (auto done = check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, level),
                        "cudaStreamCreateWithPriority");
      !done)
    return fail(done.error());
  return gpu_stream{stream};
}

gpu_stream::~gpu_stream() {
  if (handle_ != nullptr)
    static_cast<void>(call(&driver_api::stream_destroy, "cuStreamDestroy", raw(ref())));
}

expected<> wait_for(gpu_stream_ref stream, gpu_event_ref event) {
  if (!event)
    return {};
  return call(&driver_api::stream_wait, "cuStreamWaitEvent", raw(stream),
              static_cast<CUevent>(event.handle), 0u);
}

expected<> finish(gpu_stream_ref stream, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto done = ended(&driver_api::stream_query, "work on a CUDA stream", raw(stream));
    if (!done)
      return fail(done.error());
    if (*done)
      return {};
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(errc::timed_out, "work on a CUDA stream did not end within {} ms", limit.count());
    std::this_thread::sleep_for(std::chrono::microseconds{20});
  }
}

expected<> copy_async(void* to, const void* from, std::size_t bytes, gpu_stream_ref stream) {
  if (bytes == 0)
    return {};
  const context_scope scope{stream, to};
  return check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, raw(stream)), "cudaMemcpyAsync");
}

expected<> fill_async(void* to, std::byte value, std::size_t bytes, gpu_stream_ref stream) {
  const context_scope scope{stream, to};
  return check(cudaMemsetAsync(to, std::to_integer<int>(value), bytes, raw(stream)),
               "cudaMemsetAsync");
}

expected<> copy_now(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0)
    return {};
  const context_scope target{{}, to};
  const context_scope source{{}, target.entered() ? nullptr : from};
  // cudaMemcpy itself returns while the last of pageable memory is still on its way to the GPU, and
  // streams like ours do not wait for that.
  if (auto done = check(cudaMemcpy(to, from, bytes, cudaMemcpyDefault), "cudaMemcpy"); !done)
    return done;
  return check(cudaStreamSynchronize(cudaStreamLegacy), "cudaMemcpy");
}

} // namespace baton
