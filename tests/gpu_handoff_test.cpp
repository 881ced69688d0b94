// Whole runs of the scenario runner with pools on GPUs.
#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "tests/support/needs_gpu.hpp"
#include "tests/support/topologies.hpp"

using namespace baton::test;
using nlohmann::json;

namespace {

/// One run of the matrix. Half of them give each process a GPU of its own, as deployments do.
struct gpu_case {
  topology shape;
  std::string workflow;
  std::string memory;
  std::string lane;
  bool isolated = false;

  friend std::ostream& operator<<(std::ostream& out, const gpu_case& one) {
    return out << one.shape << ' ' << one.workflow << ' ' << one.memory << ' ' << one.lane
               << (one.isolated ? " isolated" : "");
  }
};

/// All shapes with all workflows and lanes. The kinds of memory alternate, and so does the
/// isolation, so that each goes with every workflow and every lane.
std::vector<gpu_case> matrix() {
  std::vector<gpu_case> all;
  std::size_t turn = 0;
  for (const auto& shape : topologies()) {
    for (const char* workflow : {"ctx_first", "ctx_first_sync", "gen_first1", "gen_first2"})
      for (const char* lane : {"mapped", "ucx"}) {
        all.push_back(
            {shape, workflow, turn % 2 == 0 ? "cuda" : "cuda-vmm", lane, turn / 2 % 2 == 0});
        ++turn;
      }
    // The next shape has the other memory with each, and after two the other isolation.
    ++turn;
  }
  return all;
}

std::string options_of(bool isolated) {
  return isolated ? "--quiet --isolate-gpus" : "--quiet";
}

json with_memory(json scenario, const std::string& context, const std::string& generation) {
  scenario["context"]["memory"] = context;
  scenario["generation"]["memory"] = generation;
  return scenario;
}

struct memory_mix {
  const char* context;
  const char* generation;

  friend std::ostream& operator<<(std::ostream& out, const memory_mix& mix) {
    return out << mix.context << " -> " << mix.generation;
  }
};

const std::vector<memory_mix> mixes{{"host", "cuda"},     {"host", "cuda-vmm"},
                                    {"cuda", "host"},     {"cuda-vmm", "host"},
                                    {"cuda", "cuda-vmm"}, {"cuda-vmm:0", "cuda:0"}};

const std::vector<std::string> kinds{"cuda", "cuda-vmm"};
const std::vector<std::string> lanes{"mapped", "ucx"};

} // namespace

namespace data = boost::unit_test::data;

BOOST_AUTO_TEST_SUITE(gpu_handoff, *boost::unit_test::precondition(a_gpu))

BOOST_DATA_TEST_CASE(every_byte_arrives, data::make(matrix()), one) {
  check_all_arrived(handoff_run{
      with_memory(scenario_of(one.shape, one.workflow, one.lane), one.memory, one.memory),
      options_of(one.isolated)});
}

BOOST_DATA_TEST_CASE(the_sides_may_have_different_memory, data::make(mixes) * data::make(lanes),
                     mix, lane) {
  for (const bool isolated : {false, true})
    check_all_arrived(handoff_run{with_memory(scenario_of(topologies()[4], "ctx_first_sync", lane),
                                              mix.context, mix.generation),
                                  options_of(isolated)});
}

BOOST_DATA_TEST_CASE(windows_chunks_cached_tokens_and_mixed_layouts_go_together,
                     data::make(kinds) * data::make(lanes), memory, lane) {
  auto scenario = with_memory(scenario_of(topologies()[4], "ctx_first_sync", lane), memory, memory);
  scenario["model"]["groups"] = {{{"name", "full"}, {"layers", {0, 3}}},
                                 {{"name", "swa"}, {"layers", {1, 2}}, {"window", 20}}};
  // Rows of 13 bytes: nothing is aligned.
  scenario["model"].merge_patch({{"head_dim", 13}, {"dtype", "int8"}});
  scenario["context"].merge_patch({{"pool", "tensor"}, {"inner", "NHD"}, {"tokens_per_block", 6}});
  scenario["generation"].merge_patch({{"pool", "layer_first"}, {"tokens_per_block", 16}});
  for (const char* side : {"context", "generation"})
    scenario[side]["blocks"] = 64;
  scenario["requests"] = {
      {{"id", 1}, {"tokens", 70}, {"chunks", {7, 40, 23}}, {"cached_tokens", 16}},
      {{"id", 2}, {"tokens", 21}, {"cached_tokens", 21}},
      {{"id", 3}, {"tokens", 100}, {"chunks", {1, 99}}},
      {{"id", 4}, {"tokens", 19}}};
  check_all_arrived(handoff_run{scenario, "--quiet"});
}

BOOST_DATA_TEST_CASE(a_killed_rank_leaves_no_wrong_byte, data::make(kinds) * data::make(lanes),
                     memory, lane) {
  const json any_end = {{"context", {"CONTEXT_COMPLETE", "TRANS_ERROR"}},
                        {"generation", {"GENERATION_TRANS_COMPLETE", "TRANS_ERROR"}}};
  for (const char* who : {"context:1", "generation:0"})
    BOOST_TEST_CONTEXT(who) {
      auto scenario =
          with_memory(scenario_of(topologies()[4], "ctx_first_sync", lane), memory, memory);
      scenario["timeout_ms"] = 3'000;
      scenario["concurrency"] = 1;
      scenario["requests"] = {{{"id", 1}, {"tokens", 30}},
                              {{"id", 2}, {"tokens", 80}, {"expect", any_end}},
                              {{"id", 3}, {"tokens", 12}, {"expect", any_end}}};
      scenario["faults"] = {{{"at", "pulling"}, {"do", "kill"}, {"who", who}, {"request", 2}}};
      const handoff_run run{scenario, "--quiet"};
      BOOST_TEST_INFO(run.output());
      BOOST_REQUIRE(run.exit_status() == 0);
      BOOST_TEST(run.check_dump() == "");
    }
}

BOOST_DATA_TEST_CASE(the_reason_says_how_the_memory_is_mapped,
                     data::make(kinds) * data::make({false, true}), memory, isolated) {
  const handoff_run run{
      with_memory(scenario_of(topologies()[5], "ctx_first_sync", "auto"), memory, memory),
      options_of(isolated)};
  check_all_arrived(run);
  std::size_t sources = 0;
  for (const auto& line : run.lines())
    if (line.value("side", "") == "generation")
      for (const auto& source : line["sources"]) {
        const auto reason = source["reason"].get<std::string>();
        BOOST_TEST(source["lane"] == "mapped");
        BOOST_TEST_INFO(reason);
        BOOST_TEST((reason.find(memory == "cuda" ? "CUDA IPC" : "read-only") != std::string::npos));
        ++sources;
      }
  BOOST_TEST(sources == 4u * 2u);
}

BOOST_AUTO_TEST_CASE(a_gpu_that_is_not_there_exits_with_1) {
  const handoff_run run{
      with_memory(scenario_of(topologies()[0], "ctx_first_sync", "auto"), "cuda", "cuda:999")};
  BOOST_TEST(run.exit_status() == 1);
  BOOST_TEST((run.output().find("generation.memory: there is no GPU 999") != std::string::npos));
}

BOOST_AUTO_TEST_SUITE_END()
