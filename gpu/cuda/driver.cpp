#include "gpu/cuda/driver.hpp"

#include <cuda_runtime_api.h>

#include <mutex>
#include <vector>

#include "gpu/cuda/error.hpp"
#include "gpu/device.hpp"

namespace baton {
namespace {

// The oldest driver interface that has all of these calls.
constexpr unsigned interface_version = 12000;

template <class Function>
bool look_up(const char* name, Function& function) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult outcome{};
  const cudaError_t status = cudaGetDriverEntryPointByVersion(name, &found, interface_version,
                                                              cudaEnableDefault, &outcome);
  static_cast<void>(cudaGetLastError());
  function = reinterpret_cast<Function>(found);
  return status == cudaSuccess && outcome == cudaDriverEntryPointSuccess && found != nullptr;
}

expected<driver_api> load() {
  driver_api api;
  const char* missing = nullptr;
  const auto need = [&](const char* name, auto& function) {
    if (missing == nullptr && !look_up(name, function))
      missing = name;
  };
  need("cuInit", api.init);
  need("cuGetErrorName", api.get_error_name);
  need("cuGetErrorString", api.get_error_string);
  need("cuDeviceGet", api.device_get);
  need("cuDeviceGetAttribute", api.device_attribute);
  need("cuDevicePrimaryCtxRetain", api.primary_context_retain);
  need("cuCtxPushCurrent", api.context_push);
  need("cuCtxPopCurrent", api.context_pop);
  need("cuStreamGetCtx", api.stream_context);
  need("cuThreadExchangeStreamCaptureMode", api.exchange_capture_mode);
  need("cuStreamDestroy", api.stream_destroy);
  need("cuStreamQuery", api.stream_query);
  need("cuStreamWaitEvent", api.stream_wait);
  need("cuStreamWriteValue64", api.stream_write);
  need("cuEventDestroy", api.event_destroy);
  need("cuEventRecord", api.event_record);
  need("cuEventQuery", api.event_query);
  need("cuEventElapsedTime", api.event_elapsed);
  need("cuPointerGetAttributes", api.pointer_attributes);
  need("cuMemGetAddressRange", api.address_range);
  need("cuMemGetAllocationGranularity", api.granularity);
  need("cuMemCreate", api.create);
  need("cuMemRelease", api.release);
  need("cuMemRetainAllocationHandle", api.retain);
  need("cuMemGetAllocationPropertiesFromHandle", api.properties);
  need("cuMemExportToShareableHandle", api.export_handle);
  need("cuMemImportFromShareableHandle", api.import_handle);
  need("cuMemAddressReserve", api.reserve);
  need("cuMemAddressFree", api.unreserve);
  need("cuMemMap", api.map);
  need("cuMemUnmap", api.unmap);
  need("cuMemSetAccess", api.set_access);
  if (missing != nullptr)
    return fail(errc::gpu_failed,
                "no usable CUDA driver: {} is missing; install NVIDIA driver 580 or later",
                missing);
  if (const CUresult status = api.init(0); status != CUDA_SUCCESS)
    return fail(errc::gpu_failed, "cuInit: CUresult {}; nvidia-smi tells whether the driver works",
                static_cast<int>(status));
  return api;
}

} // namespace

expected<const driver_api*> driver() {
  static const expected<driver_api> api = load();
  if (!api)
    return fail(api.error());
  return &*api;
}

expected<CUcontext> primary_context(int device) {
  static std::mutex mutex;
  static std::vector<CUcontext> contexts(static_cast<std::size_t>(gpu_count()));
  if (device < 0 || static_cast<std::size_t>(device) >= contexts.size())
    return fail(errc::invalid_argument, "GPU {} does not exist: this process sees {} of them",
                device, contexts.size());
  const auto api = driver();
  if (!api)
    return fail(api.error());
  const std::lock_guard lock{mutex};
  CUcontext& context = contexts[static_cast<std::size_t>(device)];
  if (context != nullptr)
    return context;
  CUdevice number = 0;
  if (auto done = check((*api)->device_get(&number, device), "cuDeviceGet"); !done)
    return fail(done.error());
  CUcontext made = nullptr;
  if (auto done = check((*api)->primary_context_retain(&made, number), "cuDevicePrimaryCtxRetain");
      !done)
    return fail(done.error());
  return context = made;
}

} // namespace baton
