#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/handoff_checks.hpp"
#include "tests/support/long_cases.hpp"

using baton::test::check_ending;
using baton::test::handoff_run;
using baton::test::mentions;
using baton::test::require_good;
using boost::unit_test::data::make;
using nlohmann::json;

namespace {

const std::vector<std::string> culprits{"context:0", "context:1", "generation:0", "generation:1"};
const std::array<std::string, 4> ranks{"context:0", "context:1", "generation:0", "generation:1"};

const json any_end = {{"context", {"CONTEXT_COMPLETE", "TRANS_ERROR"}},
                      {"generation", {"GENERATION_TRANS_COMPLETE", "TRANS_ERROR"}}};

json base() {
  return json::parse(R"({
    "name": "restart", "seed": 5,
    "model": {"layers": 4, "kv_heads": 4, "head_dim": 16, "dtype": "bf16", "attention": "gqa"},
    "context": {"tp": 2, "pp": 1, "tokens_per_block": 8, "blocks": 64},
    "generation": {"tp": 1, "pp": 2, "tokens_per_block": 8, "blocks": 64},
    "workflow": "ctx_first_sync",
    "requests": [{"id": 1, "tokens": 30}, {"id": 2, "tokens": 80}, {"id": 3, "tokens": 12}],
    "concurrency": 1, "timeout_ms": 4000
  })");
}

/// The base scenario with a restart at request 2, which may end in any way.
json with_restart(const std::string& at, const std::string& who) {
  auto scenario = base();
  scenario["faults"] = {{{"at", at}, {"do", "restart"}, {"who", who}, {"request", 2}}};
  scenario["requests"][1]["expect"] = any_end;
  return scenario;
}

/// A second after the deadline. A request that was in flight with the old life of a context rank
/// may have asked the new one, which does not know it.
constexpr std::int64_t limit_us = 5'000'000;

void check_all_complete(const handoff_run& run, int request) {
  for (const auto& rank : ranks)
    check_ending(run, request, rank, {"complete"}, limit_us);
}

} // namespace

BOOST_AUTO_TEST_SUITE(handoff_restart)

BOOST_DATA_TEST_CASE(requests_that_nobody_had_asked_for_survive_a_restart, make(culprits), who) {
  static baton::test::long_cases table{3};
  if (table.left_out())
    return;
  auto scenario = with_restart("pulling", who);
  scenario["concurrency"] = 3;
  scenario["workflow"] = "ctx_first";
  scenario["requests"][0]["expect"] = any_end;
  scenario["requests"][2]["expect"] = any_end;
  for (int id = 4; id < 10; ++id)
    scenario["requests"].push_back({{"id", id}, {"tokens", 20}});
  const handoff_run run{scenario};
  require_good(run);
  for (int id = 4; id < 10; ++id)
    check_all_complete(run, id);
}

BOOST_AUTO_TEST_CASE(a_rank_may_be_restarted_again_and_again) {
  auto scenario = with_restart("granted", "context:0");
  scenario["requests"][2]["expect"] = any_end;
  scenario["requests"].push_back({{"id", 4}, {"tokens", 25}, {"expect", any_end}});
  scenario["requests"].push_back({{"id", 5}, {"tokens", 25}});
  scenario["faults"].push_back(
      {{"at", "granted"}, {"do", "restart"}, {"who", "context:0"}, {"request", 3}});
  scenario["faults"].push_back(
      {{"at", "pulling"}, {"do", "restart"}, {"who", "generation:1"}, {"request", 4}});
  const handoff_run run{scenario};
  require_good(run);
  BOOST_TEST(!mentions(run, "never came to"));
  check_all_complete(run, 5);
}

BOOST_AUTO_TEST_SUITE_END()
