#include "examples/tiny_llm/comm.hpp"

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>

namespace tiny_llm {

namespace {

constexpr timeval answer_limit{.tv_sec = 10, .tv_usec = 0};
constexpr std::size_t longest_text = 4096;

[[noreturn]] void give_up(const std::string& peer, int number) {
  if (number == EAGAIN)
    throw std::runtime_error{
        fmt::format("{} did not answer within {} s", peer, answer_limit.tv_sec)};
  throw std::runtime_error{
      fmt::format("{} is gone: {}", peer, std::generic_category().message(number))};
}

} // namespace

std::pair<channel, channel> channel::make_pair(const std::string& peer) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    throw std::system_error{errno, std::generic_category(), "socketpair"};
  return {channel{ends[0], peer}, channel{ends[1], "the parent"}};
}

channel::channel(int descriptor, std::string peer)
    : descriptor_{descriptor}, peer_{std::move(peer)} {
  for (const auto option : {SO_RCVTIMEO, SO_SNDTIMEO})
    if (::setsockopt(descriptor, SOL_SOCKET, option, &answer_limit, sizeof answer_limit) != 0)
      throw std::system_error{errno, std::generic_category(), "socket timeout"};
}

void channel::send(std::span<const std::byte> message) {
  if (::send(descriptor_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0)
    give_up(peer_, errno);
}

void channel::receive(std::span<std::byte> message) {
  const auto size = receive_some(message);
  if (size == 0)
    give_up(peer_, EPIPE);
  if (size != message.size())
    throw std::runtime_error{
        fmt::format("{} sent {} bytes instead of {}", peer_, size, message.size())};
}

std::size_t channel::receive_some(std::span<std::byte> message) {
  // MSG_TRUNC: the size of the message, even if it is more than there is room for.
  const auto size = ::recv(descriptor_.get(), message.data(), message.size(), MSG_TRUNC);
  if (size < 0)
    give_up(peer_, errno);
  return static_cast<std::size_t>(size);
}

void channel::send_text(std::string_view text) {
  send(std::as_bytes(std::span{text.substr(0, longest_text)}));
}

std::string channel::receive_text() {
  std::string text(longest_text, '\0');
  text.resize(receive_some(std::as_writable_bytes(std::span{text})));
  if (text.empty())
    give_up(peer_, EPIPE);
  return text;
}

void channel::end_sending() {
  ::shutdown(descriptor_.get(), SHUT_WR);
}

void channel::wait_for_end() {
  std::byte unexpected;
  if (receive_some({&unexpected, 1}) != 0)
    throw std::runtime_error{fmt::format("{} said more than was expected", peer_)};
}

void channel::keep_over_exec() const {
  ::fcntl(descriptor_.get(), F_SETFD, 0);
}

mesh::mesh(const place& self, std::vector<channel> peers) : self_{self}, peers_{std::move(peers)} {
}

void mesh::all_gather(std::span<const float> mine, std::span<float> all) {
  const auto first = self_.stage() * self_.tp;
  // Every rank sends before it receives: a part is far smaller than a socket's buffer.
  for (std::uint32_t i = 0; i < self_.tp; ++i)
    if (i != self_.tp_rank())
      peers_[first + i].send_values(mine);
  for (std::uint32_t i = 0; i < self_.tp; ++i) {
    const auto part = all.subspan(i * mine.size(), mine.size());
    if (i != self_.tp_rank())
      peers_[first + i].receive(std::as_writable_bytes(part));
    else
      std::ranges::copy(mine, part.begin());
  }
}

void mesh::send_to_stage(std::uint32_t stage, std::span<const std::byte> message) {
  peers_[stage * self_.tp + self_.tp_rank()].send(message);
}

void mesh::receive_from_stage(std::uint32_t stage, std::span<std::byte> message) {
  peers_[stage * self_.tp + self_.tp_rank()].receive(message);
}

} // namespace tiny_llm
