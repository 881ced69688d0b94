#include "transport/peer/export_server.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "transport/base/unix_socket.hpp"

namespace baton {

namespace {

constexpr int backlog = 4096;

bool send_packet(int socket, const export_packet& head, std::span<const int> descriptors) {
  std::array<std::byte, CMSG_SPACE(sizeof(int) * export_packet::most_descriptors)> control{};
  iovec data{const_cast<export_packet*>(&head), sizeof head};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof head;
}

} // namespace

expected<export_server> export_server::open(incarnation life, std::vector<int> descriptors) {
  export_server server;
  server.life_ = life;
  server.descriptors_ = std::move(descriptors);
  server.name_ = fmt::format("baton-{:016x}{:016x}", random_number(), random_number());
  for (int half = 0; half < 2; ++half) {
    const auto number = random_number();
    server.token_.append(reinterpret_cast<const char*>(&number), sizeof number);
  }
  server.listener_ = packet_socket();
  const abstract_address address{server.name_};
  if (!server.listener_ || bind(server.descriptor(), address.get(), address.size()) != 0 ||
      listen(server.descriptor(), backlog) != 0)
    return fail(errc::out_of_resources, "cannot open the export socket: {}", std::strerror(errno));
  return server;
}

bool export_server::serve() noexcept {
  for (;;) {
    const unique_fd client{
        accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (client && peer_user(client.get()) == geteuid())
      answer(client);
    if (!client && errno != EINTR && errno != ECONNABORTED)
      return errno == EAGAIN;
  }
}

void export_server::answer(const unique_fd& client) const noexcept {
  export_packet head;
  head.life = life_.value;
  std::memcpy(head.token, token_.data(), sizeof head.token);
  head.total = static_cast<std::uint32_t>(descriptors_.size());
  while (head.first < head.total) {
    head.count = std::min(head.total - head.first, export_packet::most_descriptors);
    if (!send_packet(client.get(), head, std::span{descriptors_}.subspan(head.first, head.count)))
      return;
    head.first += head.count;
  }
}

} // namespace baton
