#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <caf/all.hpp>

#include "actors/config.hpp"
#include "actors/directory.hpp"
#include "actors/door.hpp"
#include "actors/transceiver_actor.hpp"
#include "transport/fake_plane.hpp"

namespace baton::test {

/// A context and a generation rank of one token a block, all of their actors on CAF's deterministic
/// scheduler and its virtual clock: one thread, no network. Endpoints are looked up in a table.
///
/// @tparam Plane  of both ranks; made of a `fake_fabric` and an incarnation.
template <class Plane>
struct scheduled_ranks {
  struct rank {
    std::shared_ptr<Plane> plane;
    rank_context_ptr context;
    transceiver_actor actor;
    directory_actor listing;
    door_actor door;
  };

  /// Without the network module: its thread would send into a job queue that has no lock.
  struct threadless_config : caf::actor_system_config {
    threadless_config() {
      register_types(*this);
      set("scheduler.policy", caf::atom("testing"));
    }
  };

  explicit scheduled_ranks(std::uint64_t seed) : world{seed} {
    system.await_actors_before_shutdown(false);
    context = start(instance_role::context);
    generation = start(instance_role::generation);
    for (const auto* side : {&context, &generation})
      caf::anon_send(side->actor, atom::start_v, side->context->endpoint.host);
    run(std::chrono::milliseconds{100});
  }

  ~scheduled_ranks() {
    for (const auto* side : {&context, &generation}) {
      caf::anon_send(side->actor, atom::stop_v);
      caf::anon_send_exit(side->door, caf::exit_reason::user_shutdown);
      caf::anon_send_exit(side->listing, caf::exit_reason::user_shutdown);
    }
    run(std::chrono::milliseconds{10});
    scheduler.clock().cancel_all();
  }

  static std::string endpoint_of(instance_role role) {
    return role == instance_role::context ? "127.0.0.1:1001" : "127.0.0.1:1002";
  }

  static rank_layout layout_of(instance_role role) {
    rank_layout layout;
    layout.instance = role == instance_role::context ? "c" : "g";
    layout.life = incarnation{role == instance_role::context ? 1u : 2u};
    layout.role = role;
    layout.model = "m";
    layout.pools.push_back({memory_kind::host, 0, {}, 2, 64});
    layout.groups.push_back(
        {"full",
         1,
         0,
         {buffer_layout{0, cache_role::key, 0, 0, 2, 0, 1, 1, 2, 2, 1, element_type::bf16}}});
    return layout;
  }

  static group_blocks table(std::uint32_t first, std::uint32_t tokens) {
    group_blocks blocks{"full", 0, {}};
    for (std::uint32_t token = 0; token < tokens; ++token)
      blocks.blocks.push_back(first + token);
    return blocks;
  }

  /// Runs all actors and the data planes for a span of virtual time.
  void run(std::chrono::milliseconds span) {
    constexpr std::chrono::milliseconds step{1};
    for (auto left = span; left > left.zero(); left -= step) {
      scheduler.run();
      world.run(world.now() + step);
      scheduler.advance_time(step);
    }
    scheduler.run();
  }

  fake_world world;
  fake_fabric fabric{world, {}, {}};
  threadless_config config;
  caf::actor_system system{config};
  caf::scheduler::test_coordinator& scheduler =
      dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  std::map<std::string, door_actor> doors; ///< gone before the system is, as all handles must be
  rank context;
  rank generation;
  caf::scoped_actor self{system, true};

private:
  rank start(instance_role role) {
    rank made;
    auto shared = std::make_shared<rank_context>();
    shared->layout = layout_of(role);
    made.plane = std::make_shared<Plane>(fabric, shared->layout.life);
    shared->plane = made.plane;
    shared->endpoint.host = endpoint_of(role);
    shared->local_door = [this](const std::string& wanted) -> std::optional<door_actor> {
      const auto found = doors.find(wanted);
      return found == doors.end() ? std::nullopt : std::optional{found->second};
    };
    made.context = shared;
    made.actor = system.spawn(transceiver_shell, shared);
    made.listing = system.spawn(directory, shared->layout, shared->options);
    made.door = system.spawn(door, shared, made.actor, made.listing);
    doors.emplace(shared->endpoint.host, made.door);
    return made;
  }
};

} // namespace baton::test
