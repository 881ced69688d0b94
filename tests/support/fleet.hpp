#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tests/support/line_process.hpp"
#include "tests/support/nodes.hpp"

namespace baton::test {

/// The layout of an instance of one rank, whose name is given; all of them fit each other.
[[nodiscard]] rank_layout fleet_layout(instance_role role, const std::string& instance);

/// Fills blocks from `first` on with `byte`, `byte` + 1 ..., and offers them.
[[nodiscard]] expected<> offer(node& rank, std::uint64_t id, std::uint32_t first,
                               std::uint32_t tokens, std::uint8_t byte);

[[nodiscard]] receive_request wish_for(std::uint64_t id, const std::string& endpoint,
                                       std::uint32_t first, std::uint32_t tokens);

/// "complete", or the name of the error.
[[nodiscard]] std::string ending_of(const outcome& result);

/// Hands 8 blocks over, from slots 0 to 7 of one rank to those of the other, and looks at each
/// byte.
/// @returns "complete", or what went wrong.
[[nodiscard]] std::string hand_over(node& context, node& generation, std::uint64_t id,
                                    std::chrono::milliseconds limit = std::chrono::seconds{5});

/// What a rank has left of any request: sessions, callers, leases; "nothing" if there is none.
[[nodiscard]] std::string left_in(node& rank);

/// An instance of one rank in a process of its own (`node_peer.cpp`), which may come and go.
class fleet_member {
public:
  /// Not running yet.
  fleet_member(instance_role role, std::string instance, lane_policy lanes);

  /// Starts a process: the first one at any port, later ones at the same, as a restarted rank.
  ///
  /// @param built  the program, see `find_program`.
  void start(const char* built);
  /// Has it shut down and end.
  void leave();
  void kill() { process_.reset(); }
  /// Forgets the port: the next start is that of another instance.
  void move(std::string instance);

  [[nodiscard]] bool runs() const noexcept { return process_ != nullptr; }
  [[nodiscard]] const std::string& endpoint() const noexcept { return endpoint_; }
  [[nodiscard]] std::string ask(const std::string& line) { return process_->ask(line); }

private:
  instance_role role_;
  std::string instance_;
  lane_policy lanes_;
  std::uint16_t port_ = 0;
  std::string endpoint_;
  std::unique_ptr<line_process> process_;
};

/// What peers cost this process: open descriptors, and mappings of shared memory.
struct peer_costs {
  std::size_t descriptors = 0;
  std::size_t mappings = 0;
  friend bool operator==(const peer_costs&, const peer_costs&) = default;
};
[[nodiscard]] peer_costs measure_peers();

} // namespace baton::test
