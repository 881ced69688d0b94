#include "transport/base/unix_socket.hpp"

#include <algorithm>
#include <cstring>

namespace baton {

abstract_address::abstract_address(std::string_view name) noexcept {
  address_.sun_family = AF_UNIX;
  const auto length = std::min(name.size(), sizeof address_.sun_path - 1);
  std::memcpy(address_.sun_path + 1, name.data(), length);
  size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
}

unique_fd packet_socket() noexcept {
  return unique_fd{socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
}

namespace {

std::optional<ucred> peer_credentials(int socket) noexcept {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return std::nullopt;
  return credentials;
}

} // namespace

std::optional<std::uint32_t> peer_user(int socket) noexcept {
  if (const auto credentials = peer_credentials(socket))
    return credentials->uid;
  return std::nullopt;
}

std::optional<int> peer_process(int socket) noexcept {
  if (const auto credentials = peer_credentials(socket))
    return credentials->pid;
  return std::nullopt;
}

} // namespace baton
