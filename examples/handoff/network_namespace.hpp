#pragma once

#include <cstdint>
#include <string>

#include "messages/error.hpp"
#include "transport/base/unique_fd.hpp"

namespace baton::handoff {

/// A network namespace without a name: it ends, with its devices, when this object and the last
/// process within it are gone, whatever ended them. Not thread-safe.
class network_namespace {
public:
  /// Makes one, with nothing in it but a loopback device that is down. The calling thread stays
  /// where it is.
  ///
  /// @returns `invalid_argument` with the remedy if the process may not, `out_of_resources`.
  [[nodiscard]] static expected<network_namespace> create();

  /// What `enter_network` of another process takes, as long as this object lives.
  [[nodiscard]] std::string path() const;

  /// Makes a pair of devices, of which one lies here and one in `other`, of the same name.
  [[nodiscard]] expected<> join(const network_namespace& other, const std::string& device) const;
  /// Gives a device an IPv4 address, in dots, with the prefix of its network.
  [[nodiscard]] expected<> add_address(const std::string& device, const std::string& address,
                                       std::uint8_t prefix) const;
  [[nodiscard]] expected<> set_up(const std::string& device, bool up) const;
  /// Waits until a device that is up counts as connected; the kernel takes its time.
  [[nodiscard]] expected<> await_running(const std::string& device) const;

private:
  network_namespace(unique_fd handle, unique_fd netlink) noexcept
      : handle_{std::move(handle)}, netlink_{std::move(netlink)} {}

  unique_fd handle_;
  unique_fd netlink_; ///< of this namespace, wherever the calling thread is
};

/// Moves the calling thread, and the threads it starts from now on, into the namespace at `path`;
/// /sys shows its devices there. Nobody else sees that /sys.
///
/// @returns `invalid_argument` with the kernel's text.
[[nodiscard]] expected<> enter_network(const std::string& path);

} // namespace baton::handoff
