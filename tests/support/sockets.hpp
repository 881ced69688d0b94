#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>

#include <boost/test/unit_test.hpp>

#include "transport/base/unique_fd.hpp"

namespace baton::test {

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

inline unique_fd connect_to(std::uint16_t port) {
  unique_fd made{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const auto address = loopback(port);
  BOOST_REQUIRE(
      ::connect(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return made;
}

/// A port that takes connections of others, and leaves them without an answer.
class silent_port {
public:
  silent_port() {
    const auto any = loopback(0);
    BOOST_REQUIRE(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) ==
                  0);
    BOOST_REQUIRE(::listen(listener_.get(), 1'000) == 0);
  }

  [[nodiscard]] std::uint16_t number() const {
    sockaddr_in address{};
    socklen_t bytes = sizeof address;
    BOOST_REQUIRE(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &bytes) ==
                  0);
    return ntohs(address.sin_port);
  }
  /// Takes the next connection, which is there.
  [[nodiscard]] unique_fd take() const {
    return unique_fd{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
  }

private:
  unique_fd listener_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
};

/// Reads until the other end has closed the connection.
/// @returns false if it has not within the time.
inline bool is_closed_within(const unique_fd& socket, std::chrono::milliseconds limit) {
  using clock = std::chrono::steady_clock;
  char bytes[1024];
  for (const auto until = clock::now() + limit; clock::now() < until;) {
    pollfd wanted{socket.get(), POLLIN, 0};
    if (::poll(&wanted, 1, 10) == 1 && ::recv(socket.get(), bytes, sizeof bytes, 0) <= 0)
      return true;
  }
  return false;
}

} // namespace baton::test
