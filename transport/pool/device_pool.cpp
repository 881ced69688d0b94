#include "transport/pool/device_pool.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "gpu/device.hpp"
#include "gpu/inspect.hpp"
#include "gpu/ipc.hpp"

namespace baton {

namespace {

pool_share private_memory(std::string reason) {
  reason.resize(std::min(reason.size(), manifest_limits::reason_bytes));
  return {.kind = share_kind::none, .reason = std::move(reason)};
}

pool_share shared_pieces(std::span<const vmm_piece> pieces, std::uint64_t offset,
                         std::uint64_t bytes) {
  if (pieces.size() > manifest_limits::pieces)
    return private_memory(fmt::format("it lies in {} allocations, of which peers map at most {}",
                                      pieces.size(), manifest_limits::pieces));
  pool_share share{.kind = share_kind::vmm, .offset = offset, .bytes = bytes};
  for (const auto& piece : pieces)
    share.pieces.push_back(piece.bytes);
  return share;
}

expected<pool_share> share_by_ipc(const void* data, std::size_t bytes) {
  const auto range = export_ipc(data, bytes);
  if (!range)
    return fail(range.error());
  return pool_share{.kind = share_kind::ipc,
                    .handle = range->handle,
                    .offset = range->offset,
                    .bytes = range->bytes};
}

} // namespace

expected<device_pool> device_pool::create(int device, std::size_t bytes) {
  const auto gpu = describe_gpu(device);
  if (!gpu)
    return fail(gpu.error());
  auto memory = vmm_allocation::create(device, bytes);
  if (!memory)
    return fail(std::move(memory.error()));
  device_pool pool;
  pool.data_ = memory->data();
  pool.bytes_ = bytes;
  pool.device_ = device;
  pool.uuid_ = gpu->uuid;
  const auto piece = memory->piece();
  pool.share_ = shared_pieces({&piece, 1}, 0, bytes);
  pool.held_ = std::move(*memory);
  return pool;
}

expected<device_pool> device_pool::adopt(void* data, std::size_t bytes) {
  const auto facts = inspect_memory(data, bytes);
  if (!facts)
    return fail(facts.error());
  if (facts->origin == memory_origin::host || facts->origin == memory_origin::managed)
    return fail(errc::invalid_argument, "{} bytes at {} are {}, no plain GPU memory{}", bytes, data,
                to_string(facts->origin),
                facts->origin == memory_origin::host ? "; use host_pool::adopt"
                                                     : "; use cudaMalloc");
  const auto gpu = describe_gpu(facts->device);
  if (!gpu)
    return fail(gpu.error());
  device_pool pool;
  pool.data_ = static_cast<std::byte*>(data);
  pool.bytes_ = bytes;
  pool.device_ = facts->device;
  pool.uuid_ = gpu->uuid;
  if (!facts->unshareable_reason.empty()) {
    pool.share_ = private_memory(facts->unshareable_reason);
  } else if (facts->origin == memory_origin::device_vmm) {
    auto exported = vmm_export::create(data, bytes);
    if (!exported && exported.error().code != errc::gpu_failed)
      return fail(std::move(exported.error()));
    if (exported) {
      pool.share_ = shared_pieces(exported->pieces(), exported->offset(), bytes);
      pool.held_ = std::move(*exported);
    } else {
      pool.share_ = private_memory(std::move(exported.error().text));
    }
  } else {
    auto share = share_by_ipc(data, bytes);
    if (!share)
      return fail(std::move(share.error()));
    pool.share_ = std::move(*share);
  }
  return pool;
}

std::vector<int> device_pool::descriptors() const {
  std::vector<int> all;
  if (share_.kind != share_kind::vmm)
    return all;
  if (const auto* own = std::get_if<vmm_allocation>(&held_))
    all.push_back(own->piece().descriptor);
  if (const auto* engine = std::get_if<vmm_export>(&held_))
    for (const auto& piece : engine->pieces())
      all.push_back(piece.descriptor);
  return all;
}

} // namespace baton
