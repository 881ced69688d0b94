#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <caf/all.hpp>

#include "actors/directory.hpp"
#include "actors/door.hpp"
#include "actors/transceiver_actor.hpp"
#include "tests/support/troubled_plane.hpp"

namespace baton::test {

/// A context and a generation rank of one token a block, all of their actors on CAF's deterministic
/// scheduler and its virtual clock, over planes that can be troubled.
class troubled_ranks {
public:
  struct rank {
    std::shared_ptr<troubled_plane> plane;
    rank_context_ptr context;
    transceiver_actor actor;
    directory_actor listing;
    door_actor door;
  };

  explicit troubled_ranks(std::uint64_t seed = 42);
  ~troubled_ranks();

  /// Runs all actors and the data planes for a span of virtual time.
  void run(std::chrono::milliseconds span);

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
    return side == instance_role::context ? context_ : generation_;
  }
  /// The rank's actors end, and their links break.
  void leave(instance_role side);

private:
  /// Without the network module: its thread would send into a job queue that has no lock.
  struct threadless_config : caf::actor_system_config {
    threadless_config();
  };

  [[nodiscard]] rank start(instance_role role, const std::string& endpoint);
  template <class Result, class... Args>
  [[nodiscard]] expected<Result> ask(std::chrono::milliseconds span, const transceiver_actor& actor,
                                     Args&&... args);

  fake_world world_;
  fake_fabric fabric_{world_, {}, {}};
  threadless_config config_;
  caf::actor_system system_{config_};
  caf::scheduler::test_coordinator& scheduler_ =
      dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
  std::map<std::string, door_actor> doors_; ///< gone before the system is, as all handles must be
  rank context_;
  rank generation_;
  std::map<instance_role, std::map<std::uint64_t, outcome>> ended_;
  caf::scoped_actor self_{system_, true};
};

} // namespace baton::test
