// Faults in whole runs in which the generation side asks before the context side computes.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/handoff_run.hpp"
#include "tests/support/long_cases.hpp"

using baton::test::handoff_run;
using boost::unit_test::data::make;
using nlohmann::json;

namespace {

const std::vector<std::string> flows{"gen_first1", "gen_first2"};
const std::vector<std::string> points{"introduced", "requested", "granted", "pulling", "done"};
const std::vector<std::string> culprits{"context:1", "generation:0"};

/// Far below the deadline, and far above what a run takes on a loaded machine.
constexpr std::int64_t soon_us = 8'000'000;

json with_fault(const std::string& flow, const std::string& at, const std::string& act,
                const std::string& who) {
  const json any_end = {{"context", {"CONTEXT_COMPLETE", "TRANS_ERROR"}},
                        {"generation", {"GENERATION_TRANS_COMPLETE", "TRANS_ERROR"}}};
  auto scenario = json::parse(R"({
    "name": "gen_first", "seed": 5,
    "model": {"layers": 4, "kv_heads": 4, "head_dim": 16, "dtype": "bf16", "attention": "gqa"},
    "context": {"tp": 2, "pp": 1, "tokens_per_block": 8, "blocks": 64},
    "generation": {"tp": 1, "pp": 2, "tokens_per_block": 8, "blocks": 64},
    "requests": [{"id": 1, "tokens": 30}, {"id": 2, "tokens": 80, "chunks": [30, 50]}, {"id": 3, "tokens": 12}],
    "concurrency": 1, "timeout_ms": 20000
  })");
  scenario["workflow"] = flow;
  // Each workflow has a lane of its own here; the topologies are run with all combinations.
  scenario["lane"] = flow == "gen_first1" ? "mapped" : "ucx";
  scenario["faults"] = {{{"at", at}, {"do", act}, {"who", who}, {"request", 2}}};
  scenario["requests"][1]["expect"] = any_end;
  if (act == "kill")
    scenario["requests"][2]["expect"] = any_end;
  return scenario;
}

std::string name_of(const json& line) {
  return line["side"].get<std::string>() + ":" + line["rank"].dump();
}

/// "complete" or an error code.
std::string ending_of(const json& line) {
  const auto error = line["error"].is_null() ? "complete" : line["error"].get<std::string>();
  return error.substr(0, error.find(':'));
}

void check_endings(const handoff_run& run, const std::string& who, const std::string& failure,
                   bool third_may_fail) {
  BOOST_TEST_INFO(run.output());
  BOOST_REQUIRE(run.exit_status() == 0);
  BOOST_TEST(run.check_dump() == "");
  BOOST_TEST(run.output().find("never came to") == std::string::npos);
  auto lines = run.lines();
  lines.pop_back();
  BOOST_TEST(lines.size() == 12u);
  for (const auto& line : lines) {
    if (third_may_fail && name_of(line) == who)
      continue;
    const bool may_fail = line["request"] == 2 || (third_may_fail && line["request"] == 3);
    BOOST_TEST_INFO(line.dump());
    BOOST_TEST((ending_of(line) == "complete" || (may_fail && ending_of(line) == failure)));
    BOOST_TEST_INFO(line.dump());
    BOOST_TEST(line["total_us"].get<std::int64_t>() < soon_us);
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(gen_first_handoff)

BOOST_DATA_TEST_CASE(a_cancel_ends_one_request_soon_and_leaves_the_others,
                     make(flows) * make(points) * make(culprits), flow, at, who) {
  static baton::test::long_cases table{7};
  if (table.left_out())
    return;
  check_endings(handoff_run{with_fault(flow, at, "cancel", who)}, who, "cancelled", false);
}

BOOST_DATA_TEST_CASE(a_killed_rank_holds_up_nobody, make(flows) * make(points) * make(culprits),
                     flow, at, who) {
  static baton::test::long_cases table{7};
  if (table.left_out())
    return;
  check_endings(handoff_run{with_fault(flow, at, "kill", who)}, who, "peer_lost", true);
}

BOOST_AUTO_TEST_SUITE_END()
