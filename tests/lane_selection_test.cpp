#include <boost/test/unit_test.hpp>

#include "transport/lane_selection.hpp"

namespace baton {

namespace {

lane_abilities self_with(lane_policy policy) {
  return {policy, "kernel 1", 1000, "1.22.0", false};
}

plane_manifest peer_with(const std::string& ucx) {
  plane_manifest peer;
  peer.boot_id = "kernel 1";
  peer.user = 1000;
  peer.ucx_version = ucx;
  return peer;
}

errc refusal(lane_policy policy, const std::string& ucx, errc why) {
  const auto choice = choose_ucx(self_with(policy), peer_with(ucx), {why, "the reason"});
  BOOST_REQUIRE(!choice);
  BOOST_TEST_INFO(choice.error().text);
  BOOST_TEST(choice.error().text.find("the reason") != std::string::npos);
  return choice.error().code;
}

} // namespace

BOOST_AUTO_TEST_SUITE(lane_selection)

BOOST_AUTO_TEST_CASE(the_ucx_lane_is_taken_with_the_reason) {
  const auto choice = choose_ucx(self_with(lane_policy::automatic), peer_with("1.22.0"),
                                 {errc::transport_failed, "the reason"});
  BOOST_REQUIRE(choice);
  BOOST_TEST((choice->lane == lane_kind::ucx));
  BOOST_TEST(choice->reason == "the reason");
}

BOOST_AUTO_TEST_CASE(memory_is_mapped_only_within_one_network_namespace) {
  auto self = self_with(lane_policy::automatic);
  auto peer = peer_with("1.22.0");
  BOOST_TEST(!why_not_mapped(self, peer));
  self.network = 1;
  BOOST_TEST(!why_not_mapped(self, peer)); // the peer could not find out
  peer.network = 1;
  BOOST_TEST(!why_not_mapped(self, peer));
  peer.network = 2;
  BOOST_TEST(why_not_mapped(self, peer).value_or("") == "peer is in another network namespace");
  BOOST_TEST(read_network() != 0u);
}

BOOST_AUTO_TEST_CASE(what_can_never_work_is_an_invalid_argument) {
  const auto never = errc::invalid_argument;
  BOOST_TEST((refusal(lane_policy::mapped, "1.22.0", never) == never));
  BOOST_TEST((refusal(lane_policy::automatic, "", never) == never));
  BOOST_TEST((refusal(lane_policy::automatic, "1.21.0", never) == errc::version_mismatch));
}

BOOST_AUTO_TEST_CASE(a_mapping_that_failed_this_time_may_be_tried_again) {
  for (const auto once : {errc::transport_failed, errc::out_of_resources, errc::gpu_failed}) {
    BOOST_TEST((refusal(lane_policy::mapped, "1.22.0", once) == once));
    BOOST_TEST((refusal(lane_policy::automatic, "", once) == once));
    BOOST_TEST((refusal(lane_policy::automatic, "1.21.0", once) == once));
  }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace baton
