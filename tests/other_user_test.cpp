#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <functional>

#include <boost/test/unit_test.hpp>

#include "transport/base/unix_socket.hpp"
#include "transport/peer/export_server.hpp"
#include "transport/peer/peer_memory.hpp"
#include "transport/pool/pool.hpp"

namespace baton {

namespace {

constexpr uid_t nobody = 65'534;
constexpr incarnation life{42};
constexpr std::size_t pool_bytes = 8192;

/// A process of another user, which only root can make; it ends with what `work` returns.
class stranger {
public:
  explicit stranger(const std::function<int()>& work) : pid_{fork()} {
    if (pid_ == 0)
      _exit(setresuid(nobody, nobody, nobody) == 0 ? work() : 99);
  }
  ~stranger() {
    if (pid_ > 0 && !ended_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  stranger(const stranger&) = delete;
  stranger& operator=(const stranger&) = delete;

  /// Does something until it has ended, for at most ten seconds. @returns its exit code, or -1.
  int await(const std::function<void()>& meanwhile) {
    for (int i = 0; i < 1000; ++i) {
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) == pid_) {
        ended_ = true;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
      }
      meanwhile();
    }
    return -1;
  }

private:
  pid_t pid_;
  bool ended_ = false;
};

/// Connects and takes one packet. @returns 0: nothing came; 1: bytes did; 2: nobody is there.
int ask(const std::string& name) {
  const abstract_address address{name};
  const unique_fd socket = packet_socket();
  if (connect(socket.get(), address.get(), address.size()) != 0)
    return 2;
  pollfd readable{socket.get(), POLLIN, 0};
  poll(&readable, 1, 5000);
  std::array<std::byte, 4096> bytes{};
  std::array<std::byte, 4096> control{};
  iovec data{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const auto count = recvmsg(socket.get(), &message, MSG_DONTWAIT);
  return count > 0 || message.msg_controllen > 0 ? 1 : 0;
}

bool is_root() {
  if (geteuid() == 0)
    return true;
  std::puts("skipped: not root");
  return false;
}

struct exported {
  lease_table leases = lease_table::create(life, 4).value();
  host_pool pool = host_pool::create(pool_bytes).value();
  export_server server =
      export_server::open(life, {leases.descriptor(), pool.descriptor()}).value();

  [[nodiscard]] plane_manifest manifest() const {
    plane_manifest out;
    out.life = life;
    out.socket = server.name();
    out.token = server.token();
    out.pools = {pool_share{}};
    return out;
  }

  void serve_soon() {
    pollfd asked{server.descriptor(), POLLIN, 0};
    poll(&asked, 1, 10);
    BOOST_TEST(server.serve());
  }
};

const std::vector<pool_layout> pools{{memory_kind::host, 0, "", pool_bytes, 1}};

} // namespace

BOOST_AUTO_TEST_SUITE(other_users)

BOOST_AUTO_TEST_CASE(memory_is_not_handed_to_another_user) {
  if (!is_root())
    return;
  exported ours;
  stranger other{[&] { return ask(ours.server.name()); }};
  BOOST_TEST(other.await([&] { ours.serve_soon(); }) == 0);
  // It is to a process of the same user.
  auto import = peer_import::start(ours.manifest(), pools,
                                   peer_import::clock::now() + std::chrono::seconds{5});
  BOOST_REQUIRE(import);
  ours.serve_soon();
  const auto result = import->advance();
  BOOST_TEST((result && result->has_value()));
}

BOOST_AUTO_TEST_CASE(memory_is_not_taken_from_another_user) {
  if (!is_root())
    return;
  exported ours;
  auto manifest = ours.manifest();
  manifest.socket += "-theirs";
  std::array<int, 2> ready{};
  BOOST_REQUIRE(pipe(ready.data()) == 0);
  const unique_fd reading{ready[0]};
  const unique_fd writing{ready[1]};
  const stranger other{[&] {
    const abstract_address address{manifest.socket};
    const unique_fd listener = packet_socket();
    if (bind(listener.get(), address.get(), address.size()) != 0 || listen(listener.get(), 1) != 0)
      return 1;
    if (write(writing.get(), "!", 1) != 1)
      return 2;
    return pause();
  }};
  pollfd told{reading.get(), POLLIN, 0};
  BOOST_REQUIRE(poll(&told, 1, 5000) == 1);
  const auto import =
      peer_import::start(manifest, pools, peer_import::clock::now() + std::chrono::seconds{5});
  BOOST_REQUIRE(!import);
  BOOST_TEST(import.error().text == "the peer's export socket belongs to another user");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
