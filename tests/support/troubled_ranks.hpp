#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "tests/support/scheduled_ranks.hpp"
#include "tests/support/troubled_plane.hpp"

namespace baton::test {

/// Ranks on the deterministic scheduler over planes that can be troubled.
class troubled_ranks : scheduled_ranks<troubled_plane> {
public:
  using scheduled_ranks::rank;
  using scheduled_ranks::run;

  explicit troubled_ranks(std::uint64_t seed = 42);

  /// Offers tokens of a request, in blocks [0, end), which are filled with its id.
  void offer(std::uint64_t id, token_range tokens, bool last, fake_event* after = nullptr,
             std::chrono::milliseconds timeout = std::chrono::seconds{10});
  /// Begins a receive into blocks [32, ...).
  void receive(std::uint64_t id, std::uint32_t tokens,
               std::shared_ptr<const request_ticket> ticket = nullptr, fake_event* after = nullptr,
               std::chrono::milliseconds timeout = std::chrono::seconds{10});
  /// Runs until the context rank has answered what a router is to be told of a request.
  [[nodiscard]] std::shared_ptr<const request_ticket> ticket(std::uint64_t id);

  /// The ends of all requests that have ended on a side so far, by id.
  [[nodiscard]] const std::map<std::uint64_t, outcome>& ended(instance_role side);
  /// Whether the blocks of a completed receive hold what they must.
  [[nodiscard]] bool arrived(std::uint64_t id, std::uint32_t tokens) const;
  /// What a rank has left of any request; "" if nothing.
  [[nodiscard]] std::string left(instance_role side);
  /// The error with which a new offer or receive is refused; `nullopt` if it is taken.
  [[nodiscard]] std::optional<error> refusal(instance_role side, std::uint64_t id);
  [[nodiscard]] rank& at(instance_role side) {
    return side == instance_role::context ? context : generation;
  }
  /// The rank's actors end, and their links break.
  void leave(instance_role side);

private:
  template <class Result, class... Args>
  [[nodiscard]] expected<Result> ask(std::chrono::milliseconds span, const transceiver_actor& actor,
                                     Args&&... args);

  std::map<instance_role, std::map<std::uint64_t, outcome>> ended_;
};

} // namespace baton::test
