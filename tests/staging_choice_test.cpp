#include <boost/test/unit_test.hpp>

#include <cstring>
#include <vector>

#include "transport/ucx/staging_choice.hpp"

namespace baton {

namespace {

staging_choice chosen(bool tcp, bool gpu_pools, bool ucx_has_gpu, std::string transports = "") {
  return choose_staging({std::move(transports), tcp, gpu_pools, ucx_has_gpu});
}

} // namespace

BOOST_AUTO_TEST_SUITE(staging)

BOOST_AUTO_TEST_CASE(host_pools_are_staged_in_plain_memory) {
  for (const bool tcp : {false, true})
    for (const bool ucx_has_gpu : {false, true}) {
      const auto choice = chosen(tcp, false, ucx_has_gpu);
      BOOST_TEST((choice.staging == staging_kind::host));
      BOOST_TEST(choice.transports.find("cuda") == std::string::npos);
      BOOST_TEST((choice.transports.find("tcp") != std::string::npos) == tcp);
    }
  BOOST_TEST((chosen(false, false, true, "cuda_ipc,self").staging == staging_kind::host));
}

BOOST_AUTO_TEST_CASE(gpu_pools_of_one_host_are_staged_on_the_gpu) {
  const auto choice = chosen(false, true, true);
  BOOST_TEST((choice.staging == staging_kind::gpu));
  BOOST_TEST(choice.transports.find("cuda_ipc") != std::string::npos);
  BOOST_TEST(choice.transports.find("tcp") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(gpu_pools_go_through_pinned_memory_where_ucx_would_go_through_the_host) {
  BOOST_TEST((chosen(true, true, true).staging == staging_kind::pinned));
  BOOST_TEST((chosen(false, true, false).staging == staging_kind::pinned));
  BOOST_TEST((chosen(false, true, true, "tcp").staging == staging_kind::pinned));
}

BOOST_AUTO_TEST_CASE(asked_for_transports_are_left_as_they_are) {
  BOOST_TEST(chosen(true, true, true, "cuda_ipc,tcp").transports == "cuda_ipc,tcp");
  BOOST_TEST((chosen(true, true, true, "cuda_ipc,tcp").staging == staging_kind::gpu));
}

BOOST_AUTO_TEST_CASE(slots_come_back_and_can_be_filled) {
  auto ring = staging_ring::create(2, 4096).value();
  {
    const auto first = ring.take();
    auto second = ring.take();
    BOOST_TEST((first && second && first.data() != second.data()));
    BOOST_TEST(!ring.take());
    const std::vector<std::byte> bytes(100, std::byte{7});
    BOOST_TEST(second.fill(bytes).has_value());
    BOOST_TEST(std::memcmp(second.data(), bytes.data(), bytes.size()) == 0);
  }
  BOOST_TEST(ring.available() == 2u);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
