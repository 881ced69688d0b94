#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "transport/memory_file.hpp"
#include "transport/pool.hpp"

namespace baton {

BOOST_AUTO_TEST_SUITE(pools)

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
