#include "transport/mapped/gpu_peer.hpp"

#include <utility>

#include "gpu/device.hpp"

namespace baton {

namespace {

/// What a failed mapping cannot tell by itself.
std::string why_unreachable(int device, const std::string& uuid) {
  const auto owner = find_gpu(uuid);
  if (!owner)
    return fmt::format("this process does not see {}", uuid);
  if (const auto can = can_read_peer(device, owner->ordinal); can && !*can)
    return fmt::format("GPU {} cannot read memory of {}, they have no NVLink or PCIe path", device,
                       uuid);
  return "";
}

std::vector<vmm_piece> pieces_of(const pool_share& share, std::span<const unique_fd> descriptors) {
  std::vector<vmm_piece> pieces;
  for (std::size_t i = 0; i < share.pieces.size(); ++i)
    pieces.push_back({descriptors[i].get(), share.pieces[i]});
  return pieces;
}

} // namespace

expected<std::unique_ptr<gpu_peer>> gpu_peer::map(int device, std::shared_ptr<peer_memory> memory,
                                                  std::span<const pool_share> shares,
                                                  std::span<const pool_layout> pools,
                                                  std::vector<std::byte*> ours) {
  std::unique_ptr<gpu_peer> made{new gpu_peer};
  const auto descriptors = memory->take_pieces();
  std::span<const unique_fd> left{descriptors};
  made->memory_ = std::move(memory);
  std::vector<const std::byte*> theirs;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const auto start = made->add(device, i, shares[i], left.first(shares[i].pieces.size()));
    left = left.subspan(shares[i].pieces.size());
    if (start) {
      theirs.push_back(*start);
      continue;
    }
    const auto hint =
        pools[i].kind == memory_kind::cuda ? why_unreachable(device, pools[i].device_uuid) : "";
    return fail(start.error().code, "pool {} of the peer cannot be mapped for GPU {}: {}{}{}", i,
                device, hint, hint.empty() ? "" : "; ", start.error().text);
  }
  made->shapes_.emplace(copy_way::pool_to_pool, std::move(theirs), std::move(ours));
  return made;
}

expected<const std::byte*> gpu_peer::add(int device, std::size_t pool, const pool_share& share,
                                         std::span<const unique_fd> pieces) {
  if (share.kind == share_kind::memory_file) {
    auto registered =
        host_registration::create(device, memory_->pages(pool), gpu_access::read_only);
    if (!registered)
      return fail(std::move(registered.error()));
    const auto* start = registered->device_data();
    held_.emplace_back(std::move(*registered));
    return start;
  }
  if (share.kind == share_kind::vmm) {
    auto mapped = vmm_mapping::map(device, pieces_of(share, pieces));
    if (!mapped)
      return fail(std::move(mapped.error()));
    const auto* start = mapped->data() + share.offset;
    held_.emplace_back(std::move(*mapped));
    read_only_ = true;
    return start;
  }
  if (memory_->same_process())
    return fail(errc::invalid_argument,
                "it is cudaMalloc memory of this same process, which CUDA IPC cannot open; use "
                "device_pool::create");
  auto opened = ipc_mapping::open(device, {share.handle, share.offset, share.bytes});
  if (!opened)
    return fail(std::move(opened.error()));
  const auto* start = opened->data();
  held_.emplace_back(std::move(*opened));
  owner_must_live_ = true;
  return start;
}

std::string gpu_peer::reason() const {
  if (owner_must_live_)
    return "same host, GPU memory through CUDA IPC, which is writable";
  return read_only_ ? "same host, GPU memory mapped read-only" : "same host";
}

} // namespace baton
