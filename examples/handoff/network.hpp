#pragma once

#include <string>

#include "examples/handoff/network_namespace.hpp"
#include "examples/handoff/scenario.hpp"
#include "messages/error.hpp"

namespace baton::handoff {

/// Two network namespaces joined by a pair of devices, one for each instance: to their ranks, two
/// hosts on one cable. Nothing of it outlives this object and the ranks. Not thread-safe.
class two_networks {
public:
  /// The name of the device in both of them.
  static constexpr auto device = "baton0";

  /// @returns `invalid_argument` with the remedy if the process has not the rights for it, else
  ///          `out_of_resources`.
  [[nodiscard]] static expected<two_networks> create();

  /// What `enter_network` takes.
  [[nodiscard]] std::string path(instance_role side) const { return sides_[side].path(); }
  /// The address that the ranks of a side bind.
  [[nodiscard]] static std::string address(instance_role side);

  /// Pulls the cable on one side; ranks of one side still reach each other.
  [[nodiscard]] expected<> cut(instance_role side);
  [[nodiscard]] expected<> heal(instance_role side);

private:
  explicit two_networks(per_side<network_namespace> sides) : sides_{std::move(sides)} {}

  per_side<network_namespace> sides_;
};

} // namespace baton::handoff
