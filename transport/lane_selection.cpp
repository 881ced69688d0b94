#include "transport/lane_selection.hpp"

#include <algorithm>
#include <fstream>
#include <utility>

#include <sys/stat.h>

namespace baton {

std::string read_boot_id() {
  std::ifstream file{"/proc/sys/kernel/random/boot_id"};
  std::string id;
  std::getline(file, id);
  return id;
}

std::uint64_t read_network() {
  struct stat found {};
  return ::stat("/proc/thread-self/ns/net", &found) == 0 ? found.st_ino : 0;
}

std::optional<std::string> why_not_mapped(const lane_abilities& self, const plane_manifest& peer) {
  if (self.policy == lane_policy::ucx)
    return "asked for by the options";
  if (self.boot_id.empty() || peer.boot_id != self.boot_id)
    return "peer is on another host";
  // Descriptors are handed over by an abstract socket, which each network namespace has of its own.
  if (peer.network != 0 && self.network != 0 && peer.network != self.network)
    return "peer is in another network namespace";
  if (peer.user != self.user)
    return fmt::format("peer runs as user {}, we as {}", peer.user, self.user);
  const auto hidden = std::ranges::find(peer.pools, share_kind::none, &pool_share::kind);
  if (hidden != peer.pools.end())
    return fmt::format("pool {} of the peer cannot be mapped: {}", hidden - peer.pools.begin(),
                       hidden->reason);
  return std::nullopt;
}

expected<lane_choice> choose_ucx(const lane_abilities& self, const plane_manifest& peer,
                                 error why) {
  const bool for_good = why.code == errc::invalid_argument;
  if (self.policy == lane_policy::mapped)
    return fail(why.code, "the mapped lane is demanded, but {}", why.text);
  if (self.ucx_version.empty() || peer.ucx_version.empty())
    return fail(why.code, "{}, and {} has no ucx lane", why.text,
                self.ucx_version.empty() ? "this rank" : "the peer");
  if (peer.ucx_version != self.ucx_version)
    return fail(for_good ? errc::version_mismatch : why.code,
                "{}, and the peer's UCX is {}, ours {}: install equal ones", why.text,
                peer.ucx_version, self.ucx_version);
  if (peer.boot_id != self.boot_id && !self.reaches_other_hosts)
    return fail(why.code, "{}, and UCX may not use tcp: set tcp_devices", why.text);
  return lane_choice{lane_kind::ucx, std::move(why.text)};
}

} // namespace baton
