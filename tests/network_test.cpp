#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tests/support/handoff_checks.hpp"
#include "tests/support/long_cases.hpp"

using baton::test::check_ending;
using baton::test::handoff_run;
using baton::test::line_of;
using baton::test::mentions;
using baton::test::require_good;
using boost::unit_test::data::make;
using nlohmann::json;

namespace {

const std::vector<std::string> culprits{"context:1", "generation:0"};
const std::array<std::string, 4> ranks{"context:0", "context:1", "generation:0", "generation:1"};

const json any_end = {{"context", {"CONTEXT_COMPLETE", "TRANS_ERROR"}},
                      {"generation", {"GENERATION_TRANS_COMPLETE", "TRANS_ERROR"}}};

json base(int timeout_ms) {
  auto scenario = json::parse(R"({
    "name": "network", "seed": 5,
    "model": {"layers": 4, "kv_heads": 4, "head_dim": 16, "dtype": "bf16", "attention": "gqa"},
    "context": {"tp": 2, "pp": 1, "tokens_per_block": 8, "blocks": 64},
    "generation": {"tp": 1, "pp": 2, "tokens_per_block": 8, "blocks": 64},
    "workflow": "ctx_first_sync",
    "requests": [{"id": 1, "tokens": 30}, {"id": 2, "tokens": 80}, {"id": 3, "tokens": 12}],
    "concurrency": 1
  })");
  scenario["timeout_ms"] = timeout_ms;
  return scenario;
}

/// The base scenario with one fault at request 2, which may end in any way.
json with_fault(int timeout_ms, const std::string& at, const std::string& act,
                const std::string& who) {
  auto scenario = base(timeout_ms);
  scenario["faults"] = {{{"at", at}, {"do", act}, {"who", who}, {"request", 2}}};
  scenario["requests"][1]["expect"] = any_end;
  return scenario;
}

json between_namespaces(json scenario, const std::string& lane) {
  scenario["network"] = "netns";
  scenario["lane"] = lane;
  return scenario;
}

json cut_off(int timeout_ms, const std::string& at, const std::string& act,
             const std::string& who) {
  return between_namespaces(with_fault(timeout_ms, at, act, who), "ucx");
}

/// A request ends this long after its deadline at the latest.
constexpr std::int64_t margin_us = 1'000'000;
/// Far below a deadline of 20 s, and far above what a run takes on a loaded machine.
constexpr std::int64_t soon_us = 8'000'000;

void check_all_complete(const handoff_run& run, int request) {
  for (const auto& rank : ranks)
    check_ending(run, request, rank, {"complete"}, soon_us);
}

/// Precondition of tests that need a network namespace. Says so on standard output where none can
/// be made: by that CTest tells skipped from passed.
boost::test_tools::assertion_result network_namespaces(boost::unit_test::test_unit_id /*id*/) {
  static const bool possible = [] {
    std::string output;
    return baton::test::run_command("unshare --net true", output) == 0;
  }();
  if (!possible)
    fmt::print("skipped: no right to make network namespaces\n");
  return possible;
}

} // namespace

BOOST_AUTO_TEST_SUITE(handoff_network, *boost::unit_test::precondition(network_namespaces))

BOOST_AUTO_TEST_CASE(between_namespaces_the_ucx_lane_is_chosen_and_says_why) {
  const handoff_run run{between_namespaces(base(20'000), "auto")};
  require_good(run);
  for (int request = 1; request <= 3; ++request)
    for (const auto* rank : {"generation:0", "generation:1"}) {
      const auto line = line_of(run, request, rank);
      for (const auto& source : line["sources"]) {
        BOOST_TEST(source["lane"] == "ucx");
        BOOST_TEST(source["reason"] == "peer is in another network namespace");
      }
    }
}

BOOST_AUTO_TEST_CASE(between_namespaces_the_mapped_lane_is_refused_soon) {
  auto scenario = between_namespaces(base(2'000), "mapped");
  scenario["requests"] = {{{"id", 1}, {"tokens", 30}}};
  const handoff_run run{scenario};
  BOOST_TEST_INFO(run.output());
  BOOST_TEST(run.exit_status() == 1);
  BOOST_TEST(
      mentions(run, "the mapped lane is demanded, but peer is in another network namespace"));
  for (const auto* rank : {"generation:0", "generation:1"})
    check_ending(run, 1, rank, {"invalid_argument"}, margin_us);
}

void check_recovery(int timeout_ms, const std::string& at, const std::string& who) {
  const handoff_run run{cut_off(timeout_ms, at, "partition_heal", who)};
  require_good(run);
  check_all_complete(run, 1);
  for (const auto& rank : ranks)
    check_ending(run, 2, rank, {"timed_out", "peer_lost", "complete"},
                 timeout_ms * 1'000 + margin_us);
  check_all_complete(run, 3);
}

BOOST_DATA_TEST_CASE(after_links_were_given_up_they_are_made_anew, make(culprits), who) {
  static baton::test::long_cases table{2};
  if (table.left_out())
    return;
  check_recovery(9'000, "pulling", who);
}

BOOST_AUTO_TEST_CASE(a_runner_that_is_killed_leaves_nothing_behind) {
  auto scenario = cut_off(30'000, "pulling", "partition", "context:1");
  const auto begin = std::chrono::steady_clock::now();
  const handoff_run run{scenario, "", "timeout -s KILL 3"};
  // The run has ended when the last process that could print has.
  BOOST_TEST((std::chrono::steady_clock::now() - begin < std::chrono::seconds{10}));
  BOOST_TEST(run.exit_status() == 137);
  BOOST_TEST(!std::filesystem::exists("/sys/class/net/baton0"));
}

BOOST_AUTO_TEST_SUITE_END()
