#include "examples/handoff/network_namespace.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "examples/handoff/netlink.hpp"

namespace baton::handoff {

namespace {

/// The kernel looks at carriers once a second.
constexpr std::chrono::milliseconds running_limit{5'000};
constexpr std::chrono::milliseconds carrier_pause{5};

constexpr const char* own_network = "/proc/thread-self/ns/net";

unique_fd open_network(const char* path) {
  return unique_fd{::open(path, O_RDONLY | O_CLOEXEC)};
}

expected<> told(int problem, const std::string& what) {
  if (problem == 0)
    return {};
  return fail(errc::out_of_resources, "{}: {}", what, std::strerror(problem));
}

tl::unexpected<error> refused(const char* what, int problem) {
  if (problem == EPERM)
    return fail(errc::invalid_argument,
                "network namespaces need the rights of root (CAP_SYS_ADMIN, CAP_NET_ADMIN): run as "
                "root, or by unshare --user --map-root-user ({}: {})",
                what, std::strerror(problem));
  return fail(errc::out_of_resources, "{}: {}", what, std::strerror(problem));
}

ifreq named(const std::string& device) {
  ifreq request{};
  device.copy(request.ifr_name, IFNAMSIZ - 1);
  return request;
}

/// What lies below /sys is that of the namespace in which it was mounted, and UCX looks for devices
/// there. The limits of the cgroup stay in sight.
int show_devices() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0)
    return errno;
  const unique_fd cgroup{::open("/sys/fs/cgroup", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (::mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    return errno;
  if (!cgroup)
    return 0;
  const auto before = fmt::format("/proc/self/fd/{}", cgroup.get());
  return ::mount(before.c_str(), "/sys/fs/cgroup", nullptr, MS_BIND | MS_REC, nullptr) == 0 ? 0
                                                                                            : errno;
}

} // namespace

expected<network_namespace> network_namespace::create() {
  const auto here = open_network(own_network);
  if (!here || ::unshare(CLONE_NEWNET) != 0)
    return refused("unshare", errno);
  auto handle = open_network(own_network);
  unique_fd netlink{open_netlink()};
  const int problem = handle && netlink ? 0 : errno;
  if (::setns(here.get(), CLONE_NEWNET) != 0)
    return refused("setns", errno);
  if (problem != 0)
    return refused("socket", problem);
  return network_namespace{std::move(handle), std::move(netlink)};
}

std::string network_namespace::path() const {
  return fmt::format("/proc/{}/fd/{}", ::getpid(), handle_.get());
}

expected<> network_namespace::join(const network_namespace& other,
                                   const std::string& device) const {
  netlink_request request{RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL};
  request.put(ifinfomsg{});
  request.attribute(IFLA_IFNAME, device);
  const auto info = request.open(IFLA_LINKINFO);
  request.attribute(IFLA_INFO_KIND, "veth");
  const auto data = request.open(IFLA_INFO_DATA);
  const auto peer = request.open(VETH_INFO_PEER);
  request.put(ifinfomsg{});
  request.attribute(IFLA_IFNAME, device);
  request.attribute(IFLA_NET_NS_FD, static_cast<std::uint32_t>(other.handle_.get()));
  request.close(peer);
  request.close(data);
  request.close(info);
  return told(request.send(netlink_.get()), "the kernel makes no pair of veth devices");
}

expected<> network_namespace::add_address(const std::string& device, const std::string& address,
                                          std::uint8_t prefix) const {
  auto found = named(device);
  in_addr number{};
  if (::ioctl(netlink_.get(), SIOCGIFINDEX, &found) != 0)
    return told(errno, "device " + device);
  if (::inet_pton(AF_INET, address.c_str(), &number) != 1)
    return told(EINVAL, "address " + address);
  ifaddrmsg head{};
  head.ifa_family = AF_INET;
  head.ifa_prefixlen = prefix;
  head.ifa_index = static_cast<std::uint32_t>(found.ifr_ifindex);
  netlink_request request{RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL};
  request.put(head);
  request.attribute(IFA_LOCAL, number.s_addr);
  request.attribute(IFA_ADDRESS, number.s_addr);
  return told(request.send(netlink_.get()), "device " + device + " takes no address " + address);
}

expected<> network_namespace::set_up(const std::string& device, bool up) const {
  ifinfomsg head{};
  head.ifi_flags = up ? IFF_UP : 0;
  head.ifi_change = IFF_UP;
  netlink_request request{RTM_NEWLINK, 0};
  request.put(head);
  request.attribute(IFLA_IFNAME, device);
  return told(request.send(netlink_.get()),
              fmt::format("device {} does not go {}", device, up ? "up" : "down"));
}

expected<> network_namespace::await_running(const std::string& device) const {
  const auto until = std::chrono::steady_clock::now() + running_limit;
  for (;;) {
    auto state = named(device);
    if (::ioctl(netlink_.get(), SIOCGIFFLAGS, &state) != 0)
      return told(errno, "device " + device);
    if ((state.ifr_flags & IFF_RUNNING) != 0)
      return {};
    if (std::chrono::steady_clock::now() >= until)
      return told(ETIMEDOUT, "device " + device + " has no carrier");
    std::this_thread::sleep_for(carrier_pause);
  }
}

expected<> enter_network(const std::string& path) {
  const auto there = open_network(path.c_str());
  if (!there || ::setns(there.get(), CLONE_NEWNET) != 0)
    return refused("setns", errno);
  if (const int problem = show_devices(); problem != 0)
    return refused("mount of /sys", problem);
  return {};
}

} // namespace baton::handoff
