#include "gpu/event.hpp"

#include <cuda_runtime_api.h>

#include "gpu/cuda/call.hpp"
#include "gpu/cuda/context.hpp"
#include "gpu/device.hpp"

namespace baton {
namespace {

CUevent raw(gpu_event_ref event) {
  return static_cast<CUevent>(event.handle);
}

} // namespace

expected<bool> is_complete(gpu_event_ref event) {
  if (!event)
    return true;
  return ended(&driver_api::event_query, "work before a CUDA event", raw(event));
}

expected<gpu_event> gpu_event::create(int device, bool timed) {
  if (auto known = known_gpu(device); !known)
    return fail(known.error());
  const gpu_scope scope{device};
  cudaEvent_t event = nullptr;
  const unsigned flags = timed ? cudaEventDefault : cudaEventDisableTiming;
  if (auto done = check(cudaEventCreateWithFlags(&event, flags), "cudaEventCreateWithFlags"); !done)
    return fail(done.error());
  return gpu_event{event};
}

gpu_event::~gpu_event() {
  if (handle_ != nullptr)
    static_cast<void>(call(&driver_api::event_destroy, "cuEventDestroy", raw(ref())));
}

expected<> gpu_event::record(gpu_stream_ref stream) {
  return call(&driver_api::event_record, "cuEventRecord", raw(ref()),
              static_cast<CUstream>(stream.handle));
}

expected<std::chrono::nanoseconds> gpu_event::since(const gpu_event& start) const {
  float milliseconds = 0;
  auto done = call(&driver_api::event_elapsed, "cuEventElapsedTime", &milliseconds,
                   raw(start.ref()), raw(ref()));
  if (!done)
    return fail(done.error());
  return std::chrono::nanoseconds{static_cast<std::int64_t>(double{milliseconds} * 1e6)};
}

} // namespace baton
