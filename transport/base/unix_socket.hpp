#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "transport/base/unique_fd.hpp"

namespace baton {

/// The address of an abstract Unix socket.
struct abstract_address {
  /// `name` has at most 107 bytes.
  explicit abstract_address(std::string_view name) noexcept;

  [[nodiscard]] const sockaddr* get() const noexcept {
    return reinterpret_cast<const sockaddr*>(&address_);
  }
  [[nodiscard]] socklen_t size() const noexcept { return size_; }

private:
  sockaddr_un address_{};
  socklen_t size_ = 0;
};

/// Returns a non-blocking socket that keeps the bounds of packets.
[[nodiscard]] unique_fd packet_socket() noexcept;

/// Returns the effective user of the process at the other end, as the kernel knows it.
[[nodiscard]] std::optional<std::uint32_t> peer_user(int socket) noexcept;

/// Returns the process at the other end, as this one sees it.
[[nodiscard]] std::optional<int> peer_process(int socket) noexcept;

} // namespace baton
