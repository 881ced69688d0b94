#include "transport/peer/peer_memory.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

#include "transport/base/unix_socket.hpp"
#include "transport/peer/export_server.hpp"

namespace baton {

namespace {

using control_buffer =
    std::array<std::byte, CMSG_SPACE(sizeof(int) * export_packet::most_descriptors)>;

/// Takes every descriptor out of a message, so that none leaks whatever else is wrong with it.
std::vector<unique_fd> take_descriptors(msghdr& message) {
  std::vector<unique_fd> taken;
  for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
      continue;
    const auto count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof descriptor);
      taken.emplace_back(descriptor);
    }
  }
  return taken;
}

} // namespace

peer_memory::peer_memory(lease_view leases, std::vector<mapping> pools,
                         std::vector<unique_fd> pieces, bool same_process)
    : leases_{std::move(leases)},
      pools_{std::move(pools)},
      pieces_{std::move(pieces)},
      same_process_{same_process} {
  for (const auto& pool : pools_)
    starts_.push_back(pool.data());
}

std::optional<std::uint64_t> peer_memory::warm(std::uint64_t offset) const noexcept {
  std::uint64_t begin = 0;
  for (const auto& pool : pools_) {
    if (const auto end = begin + pool.size(); offset < end) {
      const auto bytes = std::min<std::uint64_t>(step_bytes, end - offset);
      if (!baton::warm(pool, offset - begin, bytes))
        return std::nullopt;
      return offset + bytes;
    }
    begin += pool.size();
  }
  return std::nullopt;
}

bool peer_memory::unmap() noexcept {
  if (pools_.empty())
    return false;
  pools_.back().cut(step_bytes);
  if (pools_.back().size() == 0)
    pools_.pop_back();
  return !pools_.empty();
}

expected<peer_import> peer_import::start(plane_manifest manifest, std::vector<pool_layout> pools,
                                         clock::time_point deadline) {
  if (auto valid = fits(manifest.pools, pools); !valid)
    return fail(std::move(valid.error()));
  peer_import import;
  import.wanted_ = 1;
  for (const auto& share : manifest.pools)
    import.wanted_ += share.descriptors();
  import.socket_ = packet_socket();
  import.manifest_ = std::move(manifest);
  import.pools_ = std::move(pools);
  import.deadline_ = deadline;
  if (auto connected = import.connect(); !connected)
    return fail(std::move(connected.error()));
  return import;
}

/// A full backlog is no refusal: nothing tells when it has room, so time has to.
expected<> peer_import::connect() {
  const abstract_address address{manifest_.socket};
  if (!socket_ || ::connect(socket_.get(), address.get(), address.size()) != 0) {
    const auto now = clock::now();
    if (socket_ && (errno == EAGAIN || errno == EINTR) && now < deadline_) {
      again_ = std::min(now + retry, deadline_);
      return {};
    }
    return fail(errc::transport_failed, "the peer's export socket cannot be reached: {}",
                std::strerror(errno));
  }
  if (peer_user(socket_.get()) != geteuid())
    return fail(errc::transport_failed, "the peer's export socket belongs to another user");
  connected_ = true;
  return {};
}

std::optional<expected<std::unique_ptr<peer_memory>>> peer_import::advance() {
  if (!connected_ && clock::now() < again_)
    return std::nullopt;
  if (!connected_)
    if (auto reached = connect(); !reached)
      return fail(std::move(reached.error()));
  while (connected_) {
    const auto more = receive();
    if (!more)
      return fail(more.error());
    if (descriptors_.size() == wanted_)
      return map();
    if (*more)
      continue;
    if (clock::now() < deadline_)
      return std::nullopt;
    return fail(errc::transport_failed, "the peer's export socket did not answer in time");
  }
  return std::nullopt;
}

/// Returns whether a packet was there.
expected<bool> peer_import::receive() {
  export_packet head;
  control_buffer control{};
  iovec data{&head, sizeof head};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const auto bytes = recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (bytes < 0 && (errno == EAGAIN || errno == EINTR))
    return false;
  if (bytes < 0)
    return fail(errc::transport_failed, "the peer's export socket was closed");
  // Also an empty packet may bring descriptors: they are ours now, and go at once.
  auto taken = take_descriptors(message);
  if (bytes == 0)
    return fail(errc::transport_failed, "the peer's export socket was closed");
  if (bytes != sizeof head || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
      head.magic != export_packet::packet_magic || head.count == 0 || head.count != taken.size() ||
      head.first != descriptors_.size() || head.total != wanted_ ||
      head.count > head.total - head.first)
    return fail(errc::transport_failed,
                "the peer's export socket sent {} descriptors in a way that does not fit {} pools",
                taken.size(), pools_.size());
  if (head.life != manifest_.life.value ||
      std::string_view{head.token, sizeof head.token} != manifest_.token)
    return fail(errc::transport_failed, "the export socket is not the peer's own");
  for (auto& descriptor : taken)
    descriptors_.push_back(std::move(descriptor));
  return true;
}

expected<std::unique_ptr<peer_memory>> peer_import::map() {
  auto leases = lease_view::map(descriptors_.front().get(), manifest_.life);
  if (!leases)
    return fail(std::move(leases.error()));
  std::vector<mapping> pools(pools_.size());
  std::vector<unique_fd> pieces;
  auto next = descriptors_.begin() + 1;
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    const auto end = next + static_cast<std::ptrdiff_t>(manifest_.pools[i].descriptors());
    if (manifest_.pools[i].kind == share_kind::memory_file) {
      auto pool = map_sealed(next->get(), pools_[i].bytes(), fmt::format("pool {}", i));
      if (!pool)
        return fail(std::move(pool.error()));
      pools[i] = std::move(*pool);
    } else {
      std::move(next, end, std::back_inserter(pieces));
    }
    next = end;
  }
  const bool same_process = peer_process(socket_.get()) == getpid();
  return std::make_unique<peer_memory>(std::move(*leases), std::move(pools), std::move(pieces),
                                       same_process);
}

} // namespace baton
