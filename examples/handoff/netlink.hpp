#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "messages/error.hpp"

namespace baton::handoff {

/// A request to the kernel about network devices (rtnetlink), put together piece by piece.
class netlink_request {
public:
  /// @param type   RTM_...
  /// @param flags  NLM_F_..., besides those that every request has.
  netlink_request(std::uint16_t type, std::uint16_t flags);

  /// Appends a fixed header, e.g. an `ifinfomsg`.
  template <class Header>
  void put(const Header& header) {
    append(&header, sizeof header);
  }
  void attribute(std::uint16_t type, std::span<const std::byte> value);
  void attribute(std::uint16_t type, std::string_view text);
  void attribute(std::uint16_t type, std::uint32_t number);
  /// Begins an attribute that holds what is put until `close` gets the returned place.
  [[nodiscard]] std::size_t open(std::uint16_t type);
  void close(std::size_t place) noexcept;

  /// Sends the request and waits for the answer, at most 5 s.
  ///
  /// @returns the kernel's errno, 0 for success.
  [[nodiscard]] int send(int socket);

private:
  void append(const void* bytes, std::size_t count);

  std::vector<std::byte> bytes_;
};

/// Opens a socket to the kernel's network devices, in the namespace of the calling thread; -1 and
/// errno if there is none.
[[nodiscard]] int open_netlink() noexcept;

} // namespace baton::handoff
