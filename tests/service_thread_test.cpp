#include <poll.h>
#include <sys/resource.h>

#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "tests/support/planes.hpp"
#include "transport/base/unix_socket.hpp"
#include "transport/peer/service_thread.hpp"
#include "transport/pool/pool.hpp"

namespace baton {

namespace {

using namespace test;
using clock = peer_import::clock;

constexpr std::size_t step = peer_memory::step_bytes;
const incarnation life{random_number()};

/// Memory that is exported, and what its importers are told of it.
struct exported {
  explicit exported(std::size_t bytes)
      : leases{lease_table::create(life, 4).value()},
        pool{host_pool::create(bytes).value()},
        pools{{memory_kind::host, 0, "", bytes, 1}} {
    manifest.pools = {pool_share{}};
  }

  [[nodiscard]] export_server serve() {
    auto server = export_server::open(life, {leases.descriptor(), pool.descriptor()}).value();
    manifest.life = life;
    manifest.socket = server.name();
    manifest.token = server.token();
    return server;
  }

  lease_table leases;
  host_pool pool;
  std::vector<pool_layout> pools;
  plane_manifest manifest;
};

/// Returns how many bytes of the mapping that begins here are in our page tables.
std::size_t resident(const void* begin) {
  std::ifstream maps{"/proc/self/smaps"};
  bool found = false;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words{line};
    std::string first;
    words >> first;
    if (first.find('-') != std::string::npos)
      found = std::stoull(first, nullptr, 16) == reinterpret_cast<std::uintptr_t>(begin);
    std::size_t kib = 0;
    if (found && first == "Rss:" && words >> kib)
      return kib << 10;
  }
  return 0;
}

/// Asks again and again, boundedly.
template <class Condition>
bool comes_true(Condition condition) {
  const auto end = clock::now() + patience;
  while (!condition() && clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  return condition();
}

std::chrono::nanoseconds processor_time() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

/// Takes all descriptors that this process may still open.
class no_descriptors {
public:
  no_descriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    rlimit fewer = before_;
    fewer.rlim_cur = 256;
    setrlimit(RLIMIT_NOFILE, &fewer);
    for (unique_fd one{dup(0)}; one; one = unique_fd{dup(0)})
      taken_.push_back(std::move(one));
  }
  ~no_descriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

private:
  rlimit before_{};
  std::vector<unique_fd> taken_;
};

/// Imports with the help of nobody else.
peer_import begin_import(const exported& from, clock::time_point deadline) {
  return peer_import::start(from.manifest, from.pools, deadline).value();
}

} // namespace

BOOST_AUTO_TEST_SUITE(service_threads)

BOOST_AUTO_TEST_CASE(memory_is_mapped_without_touching_it_and_warmed_step_by_step) {
  exported from{2 * step + 4096};
  auto server = from.serve();
  auto import = begin_import(from, clock::now() + patience);
  BOOST_REQUIRE(server.serve());
  auto result = import.advance();
  BOOST_REQUIRE((result && *result));
  const auto& memory = **result;
  const auto* begin = memory->pools()[0];
  BOOST_TEST(resident(begin) == 0u);
  const auto once = memory->warm(0);
  BOOST_REQUIRE(once);
  BOOST_TEST(resident(begin) >= step);
  BOOST_TEST(resident(begin) < 2 * step);
  const auto twice = memory->warm(*once);
  BOOST_REQUIRE(twice);
  BOOST_REQUIRE(memory->warm(*twice));
  BOOST_TEST(!memory->warm(*memory->warm(*twice)));
  BOOST_TEST(resident(begin) >= from.pool.size());
}

BOOST_AUTO_TEST_CASE(what_is_not_used_any_more_is_unmapped_step_by_step) {
  exported from{2 * step + 4096};
  auto server = from.serve();
  auto import = begin_import(from, clock::now() + patience);
  BOOST_REQUIRE(server.serve());
  auto memory = std::move(import.advance().value().value());
  int steps = 1;
  while (memory->unmap())
    ++steps;
  BOOST_TEST(steps == 3);
  BOOST_TEST(!memory->unmap());
}

BOOST_AUTO_TEST_CASE(the_thread_warms_what_it_mapped_and_unmaps_it_in_the_end) {
  exported from{3 * step};
  auto server = from.serve();
  const auto thread = service_thread::start(std::move(server)).value();
  eventually<service_thread::imported> answer;
  thread->import(from.manifest, from.pools, answer.callback());
  auto memory = answer.get().value().value();
  const auto* begin = memory->pools()[0];
  BOOST_TEST(comes_true([&] { return resident(begin) >= from.pool.size(); }));
  memory.reset();
  BOOST_TEST(comes_true([&] { return resident(begin) == 0; }));
}

BOOST_AUTO_TEST_CASE(a_full_backlog_is_tried_again_until_the_deadline) {
  exported from{4096};
  from.manifest.socket = fmt::format("baton-test-{:016x}", random_number());
  const abstract_address address{from.manifest.socket};
  const auto listener = packet_socket();
  BOOST_REQUIRE(bind(listener.get(), address.get(), address.size()) == 0);
  BOOST_REQUIRE(listen(listener.get(), 0) == 0);
  std::vector<unique_fd> line;
  do
    line.push_back(packet_socket());
  while (connect(line.back().get(), address.get(), address.size()) == 0);

  auto late = begin_import(from, clock::now() + std::chrono::milliseconds{20});
  BOOST_TEST(late.descriptor() == -1);
  std::optional<expected<std::unique_ptr<peer_memory>>> answer;
  BOOST_TEST(comes_true([&] { return (answer = late.advance()).has_value(); }));
  BOOST_TEST((answer && !*answer && answer->error().code == errc::transport_failed));

  auto patient = begin_import(from, clock::now() + patience);
  BOOST_TEST(!patient.advance());
  BOOST_TEST(patient.descriptor() == -1);
  BOOST_TEST((patient.wake() < clock::now() + std::chrono::seconds{1}));
  for (std::size_t i = 0; i + 1 < line.size(); ++i)
    BOOST_TEST(unique_fd{accept(listener.get(), nullptr, nullptr)}.get() >= 0);
  BOOST_TEST(comes_true([&] { return !patient.advance() && patient.descriptor() >= 0; }));
}

BOOST_AUTO_TEST_CASE(a_process_without_descriptors_lets_others_wait_without_spinning) {
  exported from{4096};
  auto server = from.serve();
  const abstract_address address{server.name()};
  const auto client = packet_socket();
  const auto thread = service_thread::start(std::move(server)).value();
  std::chrono::nanoseconds used{};
  bool answered = true;
  {
    const no_descriptors none;
    const auto before = processor_time();
    const bool connected = connect(client.get(), address.get(), address.size()) == 0;
    pollfd watched{client.get(), POLLIN, 0};
    answered = !connected || poll(&watched, 1, 400) != 0;
    used = processor_time() - before;
  }
  BOOST_TEST(!answered);
  BOOST_TEST((used < std::chrono::milliseconds{100}));
  pollfd watched{client.get(), POLLIN, 0};
  BOOST_REQUIRE(poll(&watched, 1, static_cast<int>(std::chrono::milliseconds{patience}.count())) ==
                1);
  export_packet head;
  BOOST_TEST(recv(client.get(), &head, sizeof head, 0) == static_cast<ssize_t>(sizeof head));
  BOOST_TEST(head.total == 2u);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
