#include "gpu/device.hpp"

#include <cuda_runtime_api.h>

#include "gpu/cuda/context.hpp"
#include "gpu/cuda/error.hpp"
#include "gpu/event.hpp"

namespace baton {
namespace {

std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU";
  for (std::size_t i = 0; i < sizeof uuid.bytes; ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10)
      text += '-';
    text += fmt::format("{:02x}", static_cast<unsigned char>(uuid.bytes[i]));
  }
  return text;
}

} // namespace

bool gpu_support() noexcept {
  return true;
}

int gpu_count() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess)
    return count;
  static_cast<void>(cudaGetLastError());
  return 0;
}

expected<gpu_device> describe_gpu(int ordinal) {
  if (auto known = known_gpu(ordinal); !known)
    return fail(known.error());
  cudaDeviceProp facts{};
  if (auto done = check(cudaGetDeviceProperties(&facts, ordinal), "cudaGetDeviceProperties"); !done)
    return fail(done.error());
  return gpu_device{ordinal,     uuid_text(facts.uuid),
                    facts.name,  facts.multiProcessorCount,
                    facts.major, facts.minor};
}

expected<gpu_device> find_gpu(std::string_view uuid) {
  for (int ordinal = 0; ordinal < gpu_count(); ++ordinal) {
    auto device = describe_gpu(ordinal);
    if (!device || device->uuid == uuid)
      return device;
  }
  return fail(errc::invalid_argument,
              "this process does not see {}; CUDA_VISIBLE_DEVICES may hide it", uuid);
}

expected<bool> can_read_peer(int reader, int owner) {
  for (int ordinal : {reader, owner})
    if (auto known = known_gpu(ordinal); !known)
      return fail(known.error());
  if (reader == owner)
    return true;
  int can = 0;
  if (auto done = check(cudaDeviceCanAccessPeer(&can, reader, owner), "cudaDeviceCanAccessPeer");
      !done)
    return fail(done.error());
  return can != 0;
}

expected<> enable_peer_reads(int reader, int owner) {
  const auto can = can_read_peer(reader, owner);
  if (!can)
    return fail(can.error());
  if (!*can)
    return fail(errc::gpu_failed, "GPU {} cannot read memory of GPU {}: no NVLink or PCIe path",
                reader, owner);
  if (reader == owner)
    return {};
  const gpu_scope scope{reader};
  const cudaError_t status = cudaDeviceEnablePeerAccess(owner, 0);
  if (status == cudaErrorPeerAccessAlreadyEnabled) {
    static_cast<void>(cudaGetLastError());
    return {};
  }
  return check(status, "cudaDeviceEnablePeerAccess");
}

expected<> look_at_gpu(int ordinal) {
  const auto event = gpu_event::create(ordinal);
  if (!event)
    return fail(event.error());
  // Not a stream: the default one may be part of a capture of the engine.
  const auto seen = is_complete(event->ref());
  return seen ? expected<>{} : expected<>{fail(seen.error())};
}

} // namespace baton
