#include "tests/support/topologies.hpp"

#include <ostream>

#include <boost/test/unit_test.hpp>

namespace baton::test {

namespace {

using nlohmann::json;

json side_of(const side_shape& shape) {
  return {{"tp", shape.tp},        {"pp", shape.pp},  {"attention_dp", shape.dp},
          {"tokens_per_block", 8}, {"inner", "HND"},  {"pool", "block_first"},
          {"blocks", 32},          {"memory", "host"}};
}

} // namespace

std::ostream& operator<<(std::ostream& out, const topology& shape) {
  const auto put = [&](const side_shape& side) {
    out << side.tp << "," << side.pp << (side.dp ? " dp" : "");
  };
  put(shape.context);
  out << " -> ";
  put(shape.generation);
  return out << (shape.mla ? " mla" : "");
}

const std::vector<topology>& topologies() {
  static const std::vector<topology> all{
      {{1, 1}, {1, 1}},
      {{1, 1}, {1, 2}},
      {{1, 2}, {1, 1}},
      {{1, 2}, {1, 2}},
      {{2, 1}, {1, 2}},
      {{2, 1}, {2, 1}},
      {{2, 2}, {2, 2}},
      {{2, 1, true}, {2, 1, true}},
      {{2, 1, true}, {1, 2}},
      {{1, 4}, {2, 2, true}},
      {{2, 1}, {2, 1, true}, true},
      {{2, 1, true}, {2, 1}, true},
      {{2, 2}, {4, 1}},
  };
  return all;
}

json scenario_of(const topology& shape, const std::string& workflow, const std::string& lane) {
  return {{"name", "topology"},
          {"seed", 1},
          {"model",
           {{"layers", 4},
            {"kv_heads", shape.mla ? 1 : 4},
            {"head_dim", 128},
            {"dtype", "fp32"},
            {"attention", shape.mla ? "mla" : "gqa"}}},
          {"context", side_of(shape.context)},
          {"generation", side_of(shape.generation)},
          {"workflow", workflow},
          {"requests", {{"count", 4}, {"tokens", {30, 10, 60, 80}}}},
          {"lane", lane},
          {"timeout_ms", 20'000}};
}

void check_all_arrived(const handoff_run& run) {
  BOOST_TEST_INFO(run.output());
  BOOST_REQUIRE(run.exit_status() == 0);
  BOOST_TEST(run.check_dump() == "");
  const auto lines = run.lines();
  BOOST_REQUIRE(!lines.empty());
  BOOST_TEST(lines.back()["ok"] == true);
  BOOST_TEST(lines.back()["completed"] == 4);
}

} // namespace baton::test
