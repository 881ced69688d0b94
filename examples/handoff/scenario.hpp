#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/options.hpp"
#include "examples/handoff/layouts.hpp"
#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/state.hpp"
#include "transport/seam/data_plane.hpp"

namespace baton::handoff {

/// A value for each side of the hand-over.
template <class T>
struct per_side {
  T context;
  T generation;

  [[nodiscard]] T& operator[](instance_role role) noexcept {
    return role == instance_role::context ? context : generation;
  }
  [[nodiscard]] const T& operator[](instance_role role) const noexcept {
    return role == instance_role::context ? context : generation;
  }
};

inline constexpr std::array both_sides{instance_role::context, instance_role::generation};

/// In which order the two sides learn of a request, and how the generation side waits.
enum class workflow : std::uint8_t {
  ctx_first,      ///< context offers, generation asks and looks for the end now and then
  ctx_first_sync, ///< context offers, generation asks and waits
  gen_first1,     ///< context prepares, generation asks, context offers
  gen_first2,     ///< generation asks, context prepares and offers
};

/// Whether context ranks prepare a request, and compute it once it was asked for.
[[nodiscard]] constexpr bool prepares(workflow flow) noexcept {
  return flow == workflow::gen_first1 || flow == workflow::gen_first2;
}

/// What kind of memory pools are made of.
enum class pool_place : std::uint8_t {
  host,
  cuda,     ///< an engine's own cudaMalloc memory
  cuda_vmm, ///< baton's own device pools
};

/// Where the pools of one side lie.
struct memory_spec {
  pool_place place = pool_place::host;
  std::optional<std::uint32_t> device; ///< of all ranks; without it they are spread over all GPUs

  [[nodiscard]] bool on_gpu() const noexcept { return place != pool_place::host; }
};

/// One request, as the scenario wants it.
struct request_spec {
  request_id id;
  std::uint32_t tokens = 0;
  std::uint32_t cached_tokens = 0;
  std::vector<std::uint32_t>
      chunks; ///< token counts of the slices, in order; their sum is `tokens`
  per_side<std::vector<request_state>> expect; ///< accepted terminal states
};

/// What the runner does to a rank that reached a fault's point.
enum class fault_action : std::uint8_t {
  kill,
  stop,
  stop_resume,
  cancel,
  shutdown,
  restart,        ///< kill it, then start a new process in its place
  partition,      ///< cut its whole instance off from the other one
  partition_heal, ///< the same, for a while
};

/// What lies between the two instances.
enum class network_kind : std::uint8_t {
  loopback,
  netns, ///< a network namespace for each of them, joined by a pair of devices
};

/// A rank of one of the two instances, "context:1" in texts.
struct rank_name {
  instance_role side = instance_role::context;
  std::uint32_t rank = 0;

  friend auto operator<=>(const rank_name&, const rank_name&) = default;
};

[[nodiscard]] std::string to_string(rank_name name);

struct fault_spec {
  probe_point at = probe_point::introduced;
  fault_action act = fault_action::kill;
  rank_name who;
  request_id request;
  std::chrono::milliseconds after{0};
};

/// A whole run: one context and one generation instance, and what is handed over between them.
struct scenario {
  std::string name;
  std::uint64_t seed = 0; ///< of the byte pattern and of the block ids
  model_spec model;
  per_side<side_spec> sides;
  per_side<memory_spec> memory;
  workflow flow = workflow::ctx_first_sync;
  std::vector<request_spec> requests;
  std::size_t concurrency = 1;
  lane_policy lane = lane_policy::automatic;
  network_kind network = network_kind::loopback;
  std::chrono::milliseconds timeout{10'000};
  std::vector<fault_spec> faults;
};

/// Parses and checks a scenario completely.
///
/// @returns `invalid_argument` for a scenario that is not valid or asks for what this version does
///          not do; the text names the field, e.g. `requests[2].chunks`.
[[nodiscard]] expected<scenario> parse_scenario(std::string_view text);

/// Returns the position of a request in `scenario::requests`; their number if it is not there.
[[nodiscard]] std::size_t request_index(const scenario& run, request_id id) noexcept;

/// Whether a rank has a part in the request at this position of `scenario::requests`.
[[nodiscard]] bool takes_part(const side_spec& side, std::uint32_t rank,
                              std::size_t request) noexcept;

/// Returns the data-parallel group of the request at this position; 0 without attention data
/// parallelism.
[[nodiscard]] std::uint32_t dp_group(const side_spec& side, std::size_t request) noexcept;

} // namespace baton::handoff
