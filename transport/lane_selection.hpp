#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "messages/manifest.hpp"
#include "transport/seam/data_plane.hpp"

namespace baton {

/// What of this rank decides over lanes.
struct lane_abilities {
  lane_policy policy = lane_policy::automatic;
  std::string boot_id;
  std::uint32_t user = 0;
  std::string ucx_version; ///< empty: no ucx lane
  bool reaches_other_hosts = false;
  std::uint64_t network = 0; ///< see `plane_manifest`
};

/// Returns the id of the running kernel: equal ones mean the same host. Empty if it cannot be read.
[[nodiscard]] std::string read_boot_id();

/// Returns the number of this thread's network namespace, the same for no other that exists on
/// this host now; 0 if it cannot be found out.
[[nodiscard]] std::uint64_t read_network();

/// Returns why a peer's memory cannot be mapped, as far as its manifest tells; nothing if it may be
/// tried.
[[nodiscard]] std::optional<std::string> why_not_mapped(const lane_abilities& self,
                                                        const plane_manifest& peer);

/// Decides for the ucx lane, after `mapped` was ruled out.
///
/// @param why  it is not the mapped one: `invalid_argument` for what can never work, else what
///             failed this time.
/// @returns `invalid_argument` if the policy demands the mapped lane, or there is no ucx lane on
/// one
///          of the sides or no way to the peer's host; `version_mismatch` for another UCX. Where
///          the mapped lane only failed this time, its own code: another attempt may map.
[[nodiscard]] expected<lane_choice> choose_ucx(const lane_abilities& self,
                                               const plane_manifest& peer, error why);

} // namespace baton
