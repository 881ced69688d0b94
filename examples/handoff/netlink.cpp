#include "examples/handoff/netlink.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace baton::handoff {

namespace {

/// The kernel answers before `send` returns; this is for one that never does.
constexpr timeval answer_limit{5, 0};

} // namespace

netlink_request::netlink_request(std::uint16_t type, std::uint16_t flags) {
  nlmsghdr head{};
  head.nlmsg_type = type;
  head.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST | NLM_F_ACK);
  put(head);
}

void netlink_request::append(const void* bytes, std::size_t count) {
  const auto* first = static_cast<const std::byte*>(bytes);
  bytes_.insert(bytes_.end(), first, first + count);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

std::size_t netlink_request::open(std::uint16_t type) {
  const auto place = bytes_.size();
  put(rtattr{0, type});
  return place;
}

void netlink_request::close(std::size_t place) noexcept {
  const auto length = static_cast<unsigned short>(bytes_.size() - place);
  std::memcpy(bytes_.data() + place + offsetof(rtattr, rta_len), &length, sizeof length);
}

void netlink_request::attribute(std::uint16_t type, std::span<const std::byte> value) {
  put(rtattr{static_cast<unsigned short>(RTA_LENGTH(value.size())), type});
  append(value.data(), value.size());
}

void netlink_request::attribute(std::uint16_t type, std::string_view text) {
  const std::string terminated{text};
  attribute(type, std::as_bytes(std::span{terminated.c_str(), terminated.size() + 1}));
}

void netlink_request::attribute(std::uint16_t type, std::uint32_t number) {
  attribute(type, std::as_bytes(std::span{&number, 1}));
}

int netlink_request::send(int socket) {
  const auto length = static_cast<std::uint32_t>(bytes_.size());
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
  if (::send(socket, bytes_.data(), bytes_.size(), 0) < 0)
    return errno;
  alignas(nlmsghdr) std::array<std::byte, 8192> answer{};
  const auto count = ::recv(socket, answer.data(), answer.size(), 0);
  if (count < 0)
    return errno;
  nlmsghdr head{};
  nlmsgerr verdict{};
  if (static_cast<std::size_t>(count) < NLMSG_LENGTH(sizeof verdict))
    return EBADMSG;
  std::memcpy(&head, answer.data(), sizeof head);
  std::memcpy(&verdict, answer.data() + NLMSG_HDRLEN, sizeof verdict);
  return head.nlmsg_type == NLMSG_ERROR ? -verdict.error : EBADMSG;
}

int open_netlink() noexcept {
  const int socket = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (socket >= 0)
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &answer_limit, sizeof answer_limit);
  return socket;
}

} // namespace baton::handoff
