#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <ios>
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

json base() {
  return json::parse(R"({
    "name": "base", "seed": 3,
    "model": {"layers": 4, "kv_heads": 4, "head_dim": 16, "dtype": "bf16", "attention": "gqa"},
    "context": {"tp": 2, "pp": 1, "tokens_per_block": 8, "blocks": 64},
    "generation": {"tp": 1, "pp": 2, "tokens_per_block": 8, "blocks": 64},
    "workflow": "ctx_first_sync",
    "requests": [{"id": 1, "tokens": 30}, {"id": 2, "tokens": 80}, {"id": 3, "tokens": 12}],
    "concurrency": 1, "timeout_ms": 20000
  })");
}

const std::vector<std::string> lanes{"mapped", "ucx"};
const std::vector<std::string> points{"introduced", "requested", "granted", "pulling", "done"};
/// Of each side, one whose sibling reads, or is read, as well.
const std::vector<std::string> culprits{"context:1", "generation:0"};
const std::array<std::string, 4> ranks{"context:0", "context:1", "generation:0", "generation:1"};

/// Far below the deadline of 20 s, and far above what a run takes on a loaded machine.
constexpr std::int64_t soon_us = 8'000'000;

const json any_end = {{"context", {"CONTEXT_COMPLETE", "TRANS_ERROR"}},
                      {"generation", {"GENERATION_TRANS_COMPLETE", "TRANS_ERROR"}}};

/// The base scenario with one fault at request 2. The program lets that request and, if the rank
/// does not come back, the later one end in any way: the tests say which.
json with_fault(const std::string& lane, const std::string& at, const std::string& act,
                const std::string& who) {
  auto scenario = base();
  scenario["lane"] = lane;
  scenario["faults"] = {{{"at", at}, {"do", act}, {"who", who}, {"request", 2}}};
  scenario["requests"][1]["expect"] = any_end;
  if (act == "kill" || act == "stop")
    scenario["requests"][2]["expect"] = any_end;
  return scenario;
}

void check_ending(const handoff_run& run, int request, const std::string& rank,
                  std::initializer_list<std::string> accepted) {
  baton::test::check_ending(run, request, rank, accepted, soon_us);
}

void check_all_complete(const handoff_run& run, int request) {
  for (const auto& rank : ranks)
    check_ending(run, request, rank, {"complete"});
}

/// Whether nobody can have got anything from, or to, a rank that was held at this point.
bool before_any_byte(const std::string& at) {
  return at == "introduced" || at == "requested" || at == "granted";
}

bool same_side(const std::string& a, const std::string& b) {
  return a.front() == b.front();
}

} // namespace

BOOST_AUTO_TEST_SUITE(handoff_program)

BOOST_AUTO_TEST_CASE(a_run_reports_each_request_and_rank_once) {
  const handoff_run run{base()};
  require_good(run);
  const auto lines = run.lines();
  BOOST_REQUIRE(lines.size() == 3u * 4u + 1u);
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    BOOST_TEST(lines[i]["error"].is_null());
    BOOST_TEST(lines[i]["sources"].size() == (lines[i]["side"] == "generation" ? 2u : 0u));
  }
  BOOST_TEST(lines.back()["summary"] == true);
  BOOST_TEST(lines.back()["requests"] == 3);
  BOOST_TEST(lines.back()["completed"] == 3);
  // 122 tokens of 4 layers, key and value, 4 heads of 16 elements of 2 bytes.
  BOOST_TEST(lines.back()["bytes"] == 122 * 4 * 2 * 4 * 16 * 2);
}

BOOST_AUTO_TEST_CASE(windows_chunks_cached_tokens_and_mixed_layouts_go_together) {
  auto scenario = base();
  scenario["model"]["groups"] = {{{"name", "full"}, {"layers", {0, 3}}},
                                 {{"name", "swa"}, {"layers", {1, 2}}, {"window", 20}}};
  scenario["context"].merge_patch({{"pool", "tensor"}, {"inner", "NHD"}, {"tokens_per_block", 6}});
  scenario["generation"].merge_patch({{"pool", "layer_first"}, {"tokens_per_block", 16}});
  scenario["requests"] = {
      {{"id", 1}, {"tokens", 70}, {"chunks", {7, 40, 23}}, {"cached_tokens", 16}},
      {{"id", 2}, {"tokens", 21}, {"cached_tokens", 21}},
      {{"id", 3}, {"tokens", 100}, {"chunks", {1, 99}}},
      {{"id", 4}, {"tokens", 19}}};
  scenario["concurrency"] = 4;
  require_good(handoff_run{scenario});
}

BOOST_AUTO_TEST_CASE(an_invalid_scenario_exits_with_2_and_names_the_field) {
  auto scenario = base();
  scenario["requests"][1]["chunks"] = {40, 41};
  const handoff_run run{scenario};
  BOOST_TEST(run.exit_status() == 2);
  BOOST_TEST(mentions(run, "requests[1].chunks"));
}

BOOST_AUTO_TEST_CASE(a_scenario_that_needs_a_gpu_which_is_not_there_exits_with_1) {
  auto scenario = base();
  scenario["context"]["memory"] = "cuda:9999";
  const handoff_run run{scenario};
  BOOST_TEST(run.exit_status() == 1);
  BOOST_TEST(mentions(run, "context.memory"));
  BOOST_TEST(mentions(run, "GPU"));
}

BOOST_AUTO_TEST_CASE(a_request_that_does_not_end_as_expected_fails_the_run) {
  auto scenario = base();
  scenario["requests"][0]["expect"] = {{"generation", {"TRANS_ERROR"}}};
  const handoff_run run{scenario};
  BOOST_TEST(run.exit_status() == 1);
  BOOST_TEST(mentions(run, "request 1: generation:0 ended as GENERATION_TRANS_COMPLETE"));
}

BOOST_AUTO_TEST_CASE(a_flipped_byte_in_the_dump_is_found) {
  const handoff_run run{base()};
  require_good(run);
  const auto path = run.dump() / "generation-1.pool0.bin";
  std::fstream file{path, std::ios::binary | std::ios::in | std::ios::out};
  char byte = 0;
  file.get(byte);
  file.seekp(0);
  file.put(static_cast<char>(~byte));
  file.close();
  // It is the first token of a block, or of a block that nobody has: never one past a request's
  // end.
  BOOST_TEST(run.check_dump() != "");
}

BOOST_AUTO_TEST_CASE(a_pool_that_does_not_fit_is_refused_with_the_remedy) {
  auto scenario = base();
  scenario["generation"]["blocks"] = 1u << 31;
  const handoff_run run{scenario};
  BOOST_TEST_INFO(run.output());
  BOOST_TEST(run.exit_status() == 1);
  BOOST_TEST(mentions(run, "out_of_resources: pool 0 of 1: "));
  BOOST_TEST(mentions(run, "8796093022208 bytes do not fit"));
  BOOST_TEST(mentions(run, "ask for less"));
}

BOOST_AUTO_TEST_CASE(output_that_cannot_be_written_fails_the_run) {
  BOOST_TEST(handoff_run(base(), "> /dev/full").exit_status() == 1);
  BOOST_TEST(handoff_run(base(), "--quiet > /dev/full").exit_status() == 0);
}

BOOST_AUTO_TEST_CASE(a_fault_that_did_not_happen_is_told_also_when_quiet) {
  auto scenario = with_fault("mapped", "introduced", "kill", "context:1");
  scenario["faults"].push_back(
      {{"at", "done"}, {"do", "stop"}, {"who", "context:1"}, {"request", 2}});
  const handoff_run run{scenario, "--quiet"};
  require_good(run);
  BOOST_TEST(mentions(run, "warning: faults[1]: context:1 never came to \"done\" of request 2"));
  const auto lines = run.lines();
  BOOST_REQUIRE(lines.back()["warnings"].size() == 1u);
  BOOST_TEST(run.output().find("faults[0]") == std::string::npos);
}

BOOST_DATA_TEST_CASE(a_cancel_ends_one_request_soon_and_leaves_the_others,
                     make(lanes) * make(points) * make(culprits), lane, at, who) {
  static baton::test::long_cases table{3};
  if (table.left_out())
    return;
  const handoff_run run{with_fault(lane, at, "cancel", who)};
  require_good(run);
  BOOST_TEST(!mentions(run, "never came to"));
  check_all_complete(run, 1);
  for (const auto& rank : ranks)
    if (rank == who || (before_any_byte(at) && !same_side(rank, who)))
      check_ending(run, 2, rank, {"cancelled"});
    else
      check_ending(run, 2, rank, {"cancelled", "complete"});
  check_all_complete(run, 3);
}

BOOST_DATA_TEST_CASE(a_killed_rank_holds_up_nobody_and_leaves_no_wrong_byte,
                     make(lanes) * make(points) * make(culprits), lane, at, who) {
  static baton::test::long_cases table{3};
  if (table.left_out())
    return;
  const handoff_run run{with_fault(lane, at, "kill", who)};
  require_good(run);
  BOOST_TEST(!mentions(run, "never came to"));
  auto file = who + ".json";
  file[file.find(':')] = '-';
  BOOST_TEST(!std::filesystem::exists(run.dump() / file));
  check_all_complete(run, 1);
  for (const auto& rank : ranks) {
    if (rank == who)
      check_ending(run, 2, rank, {"gone"});
    else if (before_any_byte(at) && !same_side(rank, who))
      check_ending(run, 2, rank, {"peer_lost"});
    else
      check_ending(run, 2, rank, {"peer_lost", "complete"});
    check_ending(run, 3, rank, {rank == who ? "gone" : "peer_lost", "complete"});
  }
}

BOOST_DATA_TEST_CASE(a_stopped_rank_is_lost_before_a_long_deadline, make(lanes) * make(culprits),
                     lane, who) {
  auto scenario = with_fault(lane, "pulling", "stop", who);
  scenario["requests"].erase(2);
  const handoff_run run{scenario};
  require_good(run);
  BOOST_TEST(!mentions(run, "never came to"));
  // Heartbeats miss it after 5 s, and 2 s later it counts as lost.
  for (const auto& rank : ranks)
    if (rank == who)
      check_ending(run, 2, rank, {"gone"});
    else
      check_ending(run, 2, rank, {"peer_lost", "complete"}, 15'000'000);
}

BOOST_DATA_TEST_CASE(a_rank_that_sleeps_past_the_deadline_reports_its_outcome,
                     make(lanes) * make(culprits), lane, who) {
  auto scenario = with_fault(lane, "granted", "stop_resume", who);
  scenario["timeout_ms"] = 2000;
  const handoff_run run{scenario};
  require_good(run);
  for (const auto& rank : ranks)
    if (rank != who && same_side(rank, who))
      check_ending(run, 2, rank, {"timed_out", "complete"});
    else
      check_ending(run, 2, rank, {"timed_out"});
  check_all_complete(run, 3);
}

BOOST_AUTO_TEST_SUITE_END()
