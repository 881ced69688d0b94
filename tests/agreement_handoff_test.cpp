// Ranks that agree on what ended, each a process of its own, one of which is killed.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <set>
#include <string>
#include <vector>

#include "tests/support/handoff_run.hpp"

using baton::test::handoff_run;
using boost::unit_test::data::make;
using nlohmann::json;

namespace {

const std::vector<std::string> flows{"ctx_first", "gen_first1"};
const std::vector<std::string> culprits{"context:3", "generation:1"};
const std::vector<std::string> directories{"context:0", "generation:0"};

json tp2_pp2(const std::string& flow) {
  auto scenario = json::parse(R"({
    "name": "agreement", "seed": 5,
    "model": {"layers": 4, "kv_heads": 4, "head_dim": 16, "dtype": "bf16", "attention": "gqa"},
    "context": {"tp": 2, "pp": 2, "tokens_per_block": 8, "blocks": 64},
    "generation": {"tp": 2, "pp": 2, "tokens_per_block": 8, "blocks": 64},
    "requests": [{"id": 1, "tokens": 30}, {"id": 2, "tokens": 80, "chunks": [30, 50]}, {"id": 3, "tokens": 12}],
    "concurrency": 1, "timeout_ms": 5000, "lane": "mapped"
  })");
  scenario["workflow"] = flow;
  return scenario;
}

json with_kill(const std::string& flow, const std::string& who) {
  const json any_end = {{"context", {"CONTEXT_COMPLETE", "TRANS_ERROR"}},
                        {"generation", {"GENERATION_TRANS_COMPLETE", "TRANS_ERROR"}}};
  auto scenario = tp2_pp2(flow);
  scenario["faults"] = {{{"at", "pulling"}, {"do", "kill"}, {"who", who}, {"request", 2}}};
  for (const int index : {1, 2})
    scenario["requests"][static_cast<std::size_t>(index)]["expect"] = any_end;
  return scenario;
}

/// The states in which the living ranks of one side reported a request.
std::set<std::string> states_of(const handoff_run& run, int request, const std::string& side,
                                const std::string& dead) {
  std::set<std::string> states;
  for (const auto& line : run.lines())
    if (line.value("request", 0) == request && line["side"] == side &&
        side + ":" + line["rank"].dump() != dead)
      states.insert(line["state"].get<std::string>());
  return states;
}

/// The runner itself checks that all ranks that agreed said the same.
void require_good(const handoff_run& run) {
  BOOST_TEST_INFO(run.output());
  BOOST_REQUIRE(run.exit_status() == 0);
  BOOST_TEST(run.check_dump() == "");
}

} // namespace

BOOST_AUTO_TEST_SUITE(agreement_handoff)

BOOST_DATA_TEST_CASE(all_ranks_complete_all_requests, make(flows), flow) {
  auto scenario = tp2_pp2(flow);
  scenario["requests"] = {{"count", 12}, {"tokens", {30, 10, 60, 80}}};
  scenario["concurrency"] = 12;
  for (const char* side : {"context", "generation"})
    scenario[side]["blocks"] = 256;
  const handoff_run run{scenario, "--agree"};
  require_good(run);
  BOOST_TEST(run.lines().back()["completed"] == 12);
}

BOOST_DATA_TEST_CASE(a_killed_rank_ends_a_request_alike_on_all_others, make(flows) * make(culprits),
                     flow, who) {
  const handoff_run run{with_kill(flow, who), "--agree"};
  require_good(run);
  BOOST_TEST(run.output().find("never came to") == std::string::npos);
  const auto side = who.substr(0, who.find(':'));
  for (const int request : {2, 3}) {
    // Their sibling was lost before it had it.
    BOOST_TEST((states_of(run, request, side, who) == std::set<std::string>{"TRANS_ERROR"}));
    for (const std::string each : {"context", "generation"})
      BOOST_TEST(states_of(run, request, each, who).size() == 1u);
  }
}

BOOST_DATA_TEST_CASE(without_the_directory_the_others_end_on_their_own, make(directories), who) {
  const handoff_run run{with_kill("ctx_first", who), "--agree"};
  require_good(run);
  for (const auto& line : run.lines())
    if (line.contains("total_us") && line["side"].get<std::string>() + ":0" != who)
      BOOST_TEST(line["total_us"].get<std::int64_t>() < 10'000'000);
}

BOOST_AUTO_TEST_SUITE_END()
