// What a rank takes from the export socket of a peer. The input is a row of packets: a byte that
// says how many descriptors come along (at most 3), one for each of them that says which, one for
// the number of bytes, and these.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "tests/fuzz/target.hpp"
#include "transport/base/unix_socket.hpp"
#include "transport/peer/peer_memory.hpp"
#include "transport/pool/pool.hpp"

namespace {

using namespace baton;

constexpr incarnation life{0x1122334455667788};
constexpr std::size_t pool_bytes = 8192;

class bytes_left {
public:
  explicit bytes_left(std::string_view bytes) : left_{bytes} {}
  [[nodiscard]] bool none() const noexcept { return left_.empty(); }
  std::string_view take(std::size_t count) {
    const auto taken = left_.substr(0, count);
    left_.remove_prefix(taken.size());
    return taken;
  }
  unsigned number() {
    const auto byte = take(1);
    return byte.empty() ? 0u : static_cast<unsigned char>(byte[0]);
  }

private:
  std::string_view left_;
};

/// A peer whose export socket says what it is told to.
class peer {
public:
  peer() {
    manifest_.life = life;
    manifest_.socket = "baton-fuzz-" + std::to_string(getpid());
    manifest_.token.assign(manifest_limits::token_bytes, 't');
    manifest_.pools = {pool_share{}};
    const abstract_address address{manifest_.socket};
    if (bind(listener_.get(), address.get(), address.size()) != 0 ||
        listen(listener_.get(), 4) != 0)
      fuzz::found("no listener");
  }

  void answer(std::string_view bytes) {
    const int lowest = lowest_free();
    {
      auto import = peer_import::start(manifest_, pools_,
                                       std::chrono::steady_clock::now() + std::chrono::hours{1});
      if (!import)
        fuzz::found("no connection");
      send_all(unique_fd{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)}, bytes);
      const auto result = import->advance();
      if (!result)
        fuzz::found("neither accepted nor refused, though no more can come");
      if (!*result && (*result).error().text.empty())
        fuzz::found("an error without a text");
      if (*result && (**result)->pools().size() != 1)
        fuzz::found("mapped, but not what was promised");
    }
    if (lowest_free() != lowest)
      fuzz::found("a descriptor was leaked");
  }

private:
  static int lowest_free() { return unique_fd{dup(STDERR_FILENO)}.get(); }

  void send_all(const unique_fd& client, std::string_view bytes) {
    constexpr std::size_t most_packets = 16; // more do not fit the socket's buffer
    bytes_left left{bytes};
    for (std::size_t i = 0; i < most_packets && !left.none(); ++i) {
      std::vector<int> descriptors(left.number() % 4);
      for (auto& descriptor : descriptors)
        descriptor = choices_[left.number() % choices_.size()];
      send_one(client, left.take(left.number()), descriptors);
    }
  }

  static void send_one(const unique_fd& client, std::string_view bytes,
                       const std::vector<int>& descriptors) {
    std::array<std::byte, CMSG_SPACE(sizeof(int) * 3)> control{};
    iovec data{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    if (const auto size = descriptors.size() * sizeof(int); size > 0) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(size);
      auto* const rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(size);
      std::memcpy(CMSG_DATA(rights), descriptors.data(), size);
    }
    static_cast<void>(sendmsg(client.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT));
  }

  lease_table leases_ = lease_table::create(life, 4).value();
  host_pool pool_ = host_pool::create(pool_bytes).value();
  host_pool small_ = host_pool::create(1).value();
  /// The first two are right; then a table of another rank, a pool that is too small, and no memory
  /// at all.
  lease_table foreign_ = lease_table::create(incarnation{1}, 4).value();
  std::array<int, 5> choices_{leases_.descriptor(), pool_.descriptor(), foreign_.descriptor(),
                              small_.descriptor(), STDERR_FILENO};
  std::vector<pool_layout> pools_{{memory_kind::host, 0, "", pool_bytes, 1}};
  plane_manifest manifest_;
  unique_fd listener_ = packet_socket();
};

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static peer one;
  const fuzz::memory_watch watch;
  one.answer(fuzz::text_of(data, size));
  fuzz::memory_bound{}.check(watch, size);
  return 0;
}
