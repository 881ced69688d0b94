#include "transport/peer_memory.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "transport/export_server.hpp"
#include "transport/unix_socket.hpp"

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

peer_memory::peer_memory(lease_view leases, std::vector<mapping> pools)
    : leases_{std::move(leases)}, pools_{std::move(pools)} {
  for (const auto& pool : pools_)
    starts_.push_back(pool.data());
}

expected<peer_import> peer_import::start(plane_manifest manifest, std::vector<pool_layout> pools,
                                         clock::time_point deadline) {
  peer_import import;
  import.socket_ = packet_socket();
  const abstract_address address{manifest.socket};
  if (!import.socket_ || connect(import.descriptor(), address.get(), address.size()) != 0)
    return fail(errc::transport_failed, "the peer's export socket cannot be reached: {}",
                std::strerror(errno));
  if (peer_user(import.descriptor()) != geteuid())
    return fail(errc::transport_failed, "the peer's export socket belongs to another user");
  import.manifest_ = std::move(manifest);
  import.pools_ = std::move(pools);
  import.deadline_ = deadline;
  return import;
}

std::optional<expected<std::unique_ptr<peer_memory>>> peer_import::advance() {
  for (;;) {
    const auto more = receive();
    if (!more)
      return fail(more.error());
    if (descriptors_.size() == pools_.size() + 1)
      return map();
    if (*more)
      continue;
    if (clock::now() < deadline_)
      return std::nullopt;
    return fail(errc::transport_failed, "the peer's export socket did not answer in time");
  }
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
      head.first != descriptors_.size() || head.total != pools_.size() + 1 ||
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

expected<std::unique_ptr<peer_memory>> peer_import::map() const {
  auto leases = lease_view::map(descriptors_.front().get(), manifest_.life);
  if (!leases)
    return fail(std::move(leases.error()));
  std::vector<mapping> pools;
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    auto pool = map_sealed(descriptors_[i + 1].get(), pools_[i].bytes(), fmt::format("pool {}", i));
    if (!pool)
      return fail(std::move(pool.error()));
    pools.push_back(std::move(*pool));
  }
  return std::make_unique<peer_memory>(std::move(*leases), std::move(pools));
}

} // namespace baton
