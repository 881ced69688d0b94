#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "transport/base/memory_file.hpp"
#include "transport/base/memory_room.hpp"
#include "transport/pool/pool.hpp"

namespace baton {

namespace {

/// A made-up /proc and /sys, removed at the end.
class machine {
public:
  machine() {
    auto name = (std::filesystem::temp_directory_path() / "baton_room_XXXXXX").string();
    BOOST_REQUIRE(mkdtemp(name.data()) != nullptr);
    root_ = name;
  }
  ~machine() { std::filesystem::remove_all(root_); }
  machine(const machine&) = delete;
  machine& operator=(const machine&) = delete;

  void write(const std::string& path, const std::string& text) const {
    const auto file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream{file} << text;
  }
  [[nodiscard]] memory_room room() const { return measure_memory_room(root_); }

private:
  std::filesystem::path root_;
};

constexpr auto ten_mebibytes = "MemTotal:  20480 kB\nMemAvailable:   10240 kB\nBuffers: 1 kB\n";

} // namespace

BOOST_AUTO_TEST_SUITE(memory_rooms)

BOOST_AUTO_TEST_CASE(without_cgroups_the_host_decides) {
  const machine host;
  BOOST_TEST(host.room().bytes == UINT64_MAX);
  host.write("proc/meminfo", ten_mebibytes);
  BOOST_TEST(host.room().bytes == 10'485'760u);
  BOOST_TEST(host.room().owner == "this host");
}

BOOST_AUTO_TEST_CASE(the_tightest_cgroup_above_us_decides_and_can_drop_file_pages) {
  const machine host;
  host.write("proc/meminfo", ten_mebibytes);
  host.write("proc/self/cgroup", "0::/pods/one\n");
  host.write("sys/fs/cgroup/pods/one/memory.max", "max\n");
  host.write("sys/fs/cgroup/pods/one/memory.current", "900000\n");
  host.write("sys/fs/cgroup/pods/memory.max", "2000000\n");
  host.write("sys/fs/cgroup/pods/memory.current", "1500000\n");
  host.write("sys/fs/cgroup/pods/memory.stat",
             "anon 700000\nfile 9\ninactive_file 200000\nactive_file 50000\n");
  BOOST_TEST(host.room().bytes == 750'000u);
  BOOST_TEST(host.room().owner == "the cgroup /pods");
  host.write("sys/fs/cgroup/pods/memory.current", "3000000\n");
  BOOST_TEST(host.room().bytes == 0u);
}

BOOST_AUTO_TEST_CASE(the_older_controller_counts_too_and_a_container_sees_only_its_mount) {
  const machine host;
  host.write("proc/meminfo", ten_mebibytes);
  host.write("proc/self/cgroup", "9:name=systemd:/x\n4:cpu,memory:/docker/abc\n0::/\n");
  host.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "4000000\n");
  host.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1000000\n");
  BOOST_TEST(host.room().bytes == 3'000'000u);
  BOOST_TEST(host.room().owner == "the cgroup /");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(pools)

BOOST_AUTO_TEST_CASE(a_pool_that_does_not_fit_is_refused_before_a_page_is_touched) {
  const auto room = measure_memory_room();
  BOOST_REQUIRE(room.bytes < UINT64_MAX / 2);
  const auto bytes = room.bytes + room.bytes / 8;
  const auto refused = host_pool::create(bytes);
  BOOST_REQUIRE(!refused);
  BOOST_TEST(to_string(refused.error().code) == "out_of_resources");
  BOOST_TEST(refused.error().text.find(std::to_string(bytes) + " bytes do not fit") !=
             std::string::npos);
  BOOST_TEST(refused.error().text.find("ask for less") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_pool_is_zeroed_and_has_the_size_asked_for) {
  const auto pool = host_pool::create(100'001).value();
  BOOST_TEST(pool.size() == 100'001u);
  BOOST_TEST(std::ranges::all_of(pool.memory(), [](std::byte b) { return b == std::byte{0}; }));
  BOOST_TEST(pool.descriptor() >= 0);
}

BOOST_AUTO_TEST_CASE(zero_bytes_and_absurd_sizes_are_refused) {
  BOOST_TEST(to_string(host_pool::create(0).error().code) == "invalid_argument");
  BOOST_TEST(to_string(host_pool::create(SIZE_MAX).error().code) == "out_of_resources");
  BOOST_TEST(to_string(host_pool::create(std::size_t{1} << 60).error().code) == "out_of_resources");
  BOOST_TEST(!host_pool::adopt(nullptr, 10));
}

BOOST_AUTO_TEST_CASE(a_peer_can_map_a_pool_for_reading_only_and_sees_later_writes) {
  const auto pool = host_pool::create(1 << 16).value();
  const auto seen = map_sealed(pool.descriptor(), pool.size(), "pool 0").value();
  pool.data()[4711] = std::byte{42};
  BOOST_TEST((seen.data()[4711] == std::byte{42}));
  BOOST_TEST(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, pool.descriptor(), 0) ==
             MAP_FAILED);
  BOOST_TEST(mprotect(seen.data(), seen.size(), PROT_READ | PROT_WRITE) != 0);
}

BOOST_AUTO_TEST_CASE(a_pool_that_is_too_small_for_its_layout_is_not_mapped) {
  const auto pool = host_pool::create(4096).value();
  const auto refused = map_sealed(pool.descriptor(), 4097, "pool 3");
  BOOST_REQUIRE(!refused);
  BOOST_TEST(refused.error().text == "pool 3 of the peer has 4096 bytes, 4097 are needed");
}

BOOST_AUTO_TEST_CASE(moving_a_pool_keeps_its_memory) {
  auto pool = host_pool::create(4096).value();
  auto* const data = pool.data();
  auto other = host_pool::create(4096).value();
  other = std::move(pool);
  BOOST_TEST(other.data() == data);
  data[0] = std::byte{1};
  const host_pool third{std::move(other)};
  BOOST_TEST((third.data()[0] == std::byte{1}));
}

BOOST_AUTO_TEST_CASE(adopted_memory_stays_with_its_owner) {
  std::vector<std::byte> memory(1000);
  {
    const auto pool = host_pool::adopt(memory.data(), memory.size()).value();
    BOOST_TEST(pool.descriptor() == -1);
    pool.data()[999] = std::byte{7};
  }
  BOOST_TEST((memory[999] == std::byte{7}));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
