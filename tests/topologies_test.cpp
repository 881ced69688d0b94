#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <array>
#include <ostream>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/support/handoff_run.hpp"

using baton::test::handoff_run;
using nlohmann::json;

namespace {

struct side_shape {
  int tp;
  int pp;
  bool dp = false;
};

struct topology {
  side_shape context;
  side_shape generation;
  bool mla = false;

  friend std::ostream& operator<<(std::ostream& out, const topology& t) {
    const auto put = [&](const side_shape& s) {
      out << s.tp << "," << s.pp << (s.dp ? " dp" : "");
    };
    put(t.context);
    put((out << " -> ", t.generation));
    return out << (t.mla ? " mla" : "");
  }
};

/// (tp, pp) of the context and of the generation side.
const std::array topologies{
    topology{{1, 1}, {1, 1}},
    topology{{1, 1}, {1, 2}},
    topology{{1, 2}, {1, 1}},
    topology{{1, 2}, {1, 2}},
    topology{{2, 1}, {1, 2}},
    topology{{2, 1}, {2, 1}},
    topology{{2, 2}, {2, 2}},
    topology{{2, 1, true}, {2, 1, true}},
    topology{{2, 1, true}, {1, 2}},
    topology{{1, 4}, {2, 2, true}},
    topology{{2, 1}, {2, 1, true}, true},
    topology{{2, 1, true}, {2, 1}, true},
    topology{{2, 2}, {4, 1}},
};

const std::array<std::string, 2> workflows{"ctx_first", "ctx_first_sync"};
const std::array<std::string, 2> lanes{"mapped", "ucx"};

json side_of(const side_shape& shape) {
  return {{"tp", shape.tp},        {"pp", shape.pp},  {"attention_dp", shape.dp},
          {"tokens_per_block", 8}, {"inner", "HND"},  {"pool", "block_first"},
          {"blocks", 32},          {"memory", "host"}};
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

} // namespace

BOOST_AUTO_TEST_SUITE(topologies_test)

BOOST_DATA_TEST_CASE(every_byte_arrives,
                     boost::unit_test::data::make(topologies) *
                         boost::unit_test::data::make(workflows) *
                         boost::unit_test::data::make(lanes),
                     shape, workflow, lane) {
  check_all_arrived(handoff_run{scenario_of(shape, workflow, lane), "--quiet"});
}

BOOST_DATA_TEST_CASE(every_byte_arrives_over_tcp,
                     boost::unit_test::data::make({topologies[4], topologies[12]}), shape) {
  check_all_arrived(handoff_run{scenario_of(shape, "ctx_first_sync", "ucx"),
                                "--quiet --tcp lo --ucx-tls tcp,self"});
}

BOOST_AUTO_TEST_SUITE_END()
