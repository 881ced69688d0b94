#include <vector>

#include <boost/test/unit_test.hpp>

#include "gpu/device.hpp"
#include "transport/pool/memory_pool.hpp"

namespace baton {

namespace {

constexpr std::size_t bytes = 1 << 16;

std::vector<memory_pool> one_host_pool() {
  std::vector<memory_pool> pools;
  pools.emplace_back(host_pool::create(bytes).value());
  return pools;
}

rank_layout layout_of(pool_layout pool) {
  rank_layout layout;
  layout.pools = {std::move(pool)};
  return layout;
}

} // namespace

BOOST_AUTO_TEST_SUITE(memory_pools)

BOOST_AUTO_TEST_CASE(a_host_pool_is_shared_by_its_descriptor) {
  const auto pools = one_host_pool();
  BOOST_TEST((pools[0].kind() == memory_kind::host));
  BOOST_TEST(pools[0].device() == nullptr);
  BOOST_TEST(pools[0].size() == bytes);
  BOOST_TEST(pools[0].memory().size() == bytes);
  BOOST_TEST((pools[0].share().kind == share_kind::memory_file));
  BOOST_TEST(pools[0].descriptors().size() == 1u);
}

BOOST_AUTO_TEST_CASE(host_memory_of_the_engine_is_not_shared_and_says_why) {
  std::vector<std::byte> memory(bytes);
  const memory_pool pool{host_pool::adopt(memory.data(), memory.size()).value()};
  BOOST_TEST((pool.share().kind == share_kind::none));
  BOOST_TEST(!pool.share().reason.empty());
  BOOST_TEST(pool.descriptors().empty());
}

BOOST_AUTO_TEST_CASE(pools_must_be_what_the_layout_says) {
  const auto pools = one_host_pool();
  BOOST_TEST(check_pools(layout_of({memory_kind::host, 0, "", bytes, 1}), pools).has_value());
  BOOST_TEST(!check_pools(layout_of({memory_kind::host, 0, "", bytes + 1, 1}), pools));
  const auto other = check_pools(layout_of({memory_kind::cuda, 0, "GPU-1", bytes, 1}), pools);
  BOOST_REQUIRE(!other);
  BOOST_TEST(other.error().text == "pools[0] is host memory, its layout says cuda");
  BOOST_TEST(!check_pools(rank_layout{}, pools));
}

BOOST_AUTO_TEST_CASE(host_memory_cannot_be_registered_as_gpu_memory) {
  std::vector<std::byte> memory(bytes);
  const auto pool = device_pool::adopt(memory.data(), memory.size());
  BOOST_REQUIRE(!pool);
  BOOST_TEST(to_string(pool.error().code) == "invalid_argument");
  BOOST_TEST(!device_pool::adopt(nullptr, bytes));
}

BOOST_AUTO_TEST_CASE(without_a_gpu_there_is_no_gpu_memory) {
  if (gpu_count() > 0)
    return;
  const auto pool = device_pool::create(0, bytes);
  BOOST_REQUIRE(!pool);
  BOOST_TEST(to_string(pool.error().code) == "gpu_failed");
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
