#include "examples/handoff/network.hpp"

#include <cstdint>
#include <utility>

namespace baton::handoff {

namespace {

/// The addresses of both sides lie in one network of this length.
constexpr std::uint8_t prefix = 30;
constexpr std::uint8_t single = 32;

/// On the loopback device as well, the address stays when the cable is cut: a rank still reaches
/// the others of its instance.
expected<> furnish(const network_namespace& here, const std::string& address) {
  for (const auto& [name, length] : {std::pair{"lo", single}, {two_networks::device, prefix}}) {
    if (auto added = here.add_address(name, address, length); !added)
      return added;
    if (auto up = here.set_up(name, true); !up)
      return up;
  }
  return {};
}

} // namespace

expected<two_networks> two_networks::create() {
  auto context = network_namespace::create();
  if (!context)
    return fail(std::move(context.error()));
  auto generation = network_namespace::create();
  if (!generation)
    return fail(std::move(generation.error()));
  if (auto joined = context->join(*generation, device); !joined)
    return fail(std::move(joined.error()));
  two_networks made{{std::move(*context), std::move(*generation)}};
  for (auto side : both_sides)
    if (auto ready = furnish(made.sides_[side], address(side)); !ready)
      return fail(std::move(ready.error()));
  // UCX passes over devices that are not.
  for (auto side : both_sides)
    if (auto running = made.sides_[side].await_running(device); !running)
      return fail(std::move(running.error()));
  return made;
}

std::string two_networks::address(instance_role side) {
  return side == instance_role::context ? "10.77.0.1" : "10.77.0.2";
}

expected<> two_networks::cut(instance_role side) {
  return sides_[side].set_up(device, false);
}

expected<> two_networks::heal(instance_role side) {
  return sides_[side].set_up(device, true);
}

} // namespace baton::handoff
