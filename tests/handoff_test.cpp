#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <ios>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/support/handoff_checks.hpp"

using baton::test::handoff_run;
using baton::test::mentions;
using baton::test::require_good;
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

const json any_end = {{"context", {"CONTEXT_COMPLETE", "TRANS_ERROR"}},
                      {"generation", {"GENERATION_TRANS_COMPLETE", "TRANS_ERROR"}}};

/// The base scenario with a rank that is killed at request 2. That and the later one may end in any
/// way; `fault_table` looks at how.
json with_killed_rank() {
  auto scenario = base();
  scenario["faults"] = {
      {{"at", "introduced"}, {"do", "kill"}, {"who", "context:1"}, {"request", 2}}};
  scenario["requests"][1]["expect"] = any_end;
  scenario["requests"][2]["expect"] = any_end;
  return scenario;
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
  auto scenario = with_killed_rank();
  scenario["faults"].push_back(
      {{"at", "done"}, {"do", "stop"}, {"who", "context:1"}, {"request", 2}});
  const handoff_run run{scenario, "--quiet"};
  require_good(run);
  BOOST_TEST(!std::filesystem::exists(run.dump() / "context-1.json"));
  BOOST_TEST(mentions(run, "warning: faults[1]: context:1 never came to \"done\" of request 2"));
  const auto lines = run.lines();
  BOOST_REQUIRE(lines.back()["warnings"].size() == 1u);
  BOOST_TEST(run.output().find("faults[0]") == std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
