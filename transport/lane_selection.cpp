#include "transport/lane_selection.hpp"

#include <algorithm>
#include <fstream>
#include <utility>

namespace baton {

std::string read_boot_id() {
  std::ifstream file{"/proc/sys/kernel/random/boot_id"};
  std::string id;
  std::getline(file, id);
  return id;
}

std::optional<std::string> why_not_mapped(const lane_abilities& self, const plane_manifest& peer) {
  if (self.policy == lane_policy::ucx)
    return "asked for by the options";
  if (self.boot_id.empty() || peer.boot_id != self.boot_id)
    return "peer is on another host";
  if (peer.user != self.user)
    return fmt::format("peer runs as user {}, we as {}", peer.user, self.user);
  const auto hidden = std::ranges::find(peer.pools, share_kind::none, &pool_share::kind);
  if (hidden != peer.pools.end())
    return fmt::format("pool {} of the peer cannot be mapped: {}", hidden - peer.pools.begin(),
                       hidden->reason);
  return std::nullopt;
}

expected<lane_choice> choose_ucx(const lane_abilities& self, const plane_manifest& peer,
                                 std::string reason) {
  if (self.policy == lane_policy::mapped)
    return fail(errc::invalid_argument, "the mapped lane is demanded, but {}", reason);
  if (self.ucx_version.empty() || peer.ucx_version.empty())
    return fail(errc::invalid_argument, "{}, and {} has no ucx lane", reason,
                self.ucx_version.empty() ? "this rank" : "the peer");
  if (peer.ucx_version != self.ucx_version)
    return fail(errc::version_mismatch, "{}, and the peer's UCX is {}, ours {}: install equal ones",
                reason, peer.ucx_version, self.ucx_version);
  if (peer.boot_id != self.boot_id && !self.reaches_other_hosts)
    return fail(errc::invalid_argument, "{}, and UCX may not use tcp: set tcp_devices", reason);
  return lane_choice{lane_kind::ucx, std::move(reason)};
}

} // namespace baton
