#include <boost/test/data/monomorphic.hpp>
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/handoff_run.hpp"

using baton::test::handoff_run;
using boost::unit_test::data::make;
using nlohmann::json;

namespace {

/// A model of attention and state, changed by a JSON merge patch.
json scenario(const char* patch, const std::string& lane) {
  auto document = json::parse(R"({
    "name": "state", "seed": 5,
    "model": {"layers": 4, "kv_heads": 4, "head_dim": 16, "dtype": "bf16",
              "state": {"layers": [1, 3], "conv_bytes": 1003, "ssm_heads": 7, "ssm_head_bytes": 65}},
    "context": {"tp": 2, "pp": 1, "tokens_per_block": 8, "blocks": 64},
    "generation": {"tp": 1, "pp": 2, "tokens_per_block": 8, "blocks": 64},
    "workflow": "ctx_first",
    "requests": [{"id": 1, "tokens": 30}, {"id": 2, "tokens": 80, "chunks": [40, 17, 23]},
                 {"id": 3, "tokens": 24, "cached_tokens": 24},
                 {"id": 4, "tokens": 60, "cached_tokens": 48, "chunks": [20, 40]}],
    "timeout_ms": 20000
  })");
  document.merge_patch(json::parse(patch));
  document["lane"] = lane;
  return document;
}

const std::vector<std::string> lanes{"mapped", "ucx"};

const std::vector<const char*> shapes{
    // tp 2 to pp 2
    R"({})",
    // one to three, unlike orders
    R"({"context": {"tp": 1, "pool": "tensor"},
        "generation": {"tp": 3, "pp": 1, "inner": "NHD", "pool": "layer_first"}})",
    // three to two, both in stages, of which the context side's last holds state only
    R"({"context": {"tp": 3, "pp": 3, "pp_layers": [2, 1, 1], "pool": "layer_first"},
        "generation": {"tp": 2, "pp": 2, "tokens_per_block": 12},
        "requests": [{"id": 9, "tokens": 50, "cached_tokens": 36}]})",
    // with windows; more ranks than bytes of the convolution
    R"({"model": {"state": {"layers": [3], "conv_bytes": 3},
                  "groups": [{"name": "full", "layers": [0]},
                             {"name": "swa", "layers": [1, 2], "window": 20}]},
        "context": {"tp": 4, "pool": "tensor"}, "generation": {"pool": "tensor"}})",
    // each dp group holds all of it
    R"({"context": {"attention_dp": true}, "generation": {"tp": 2, "pp": 2, "attention_dp": true}})",
    // MLA, and only one kind of state
    R"({"model": {"kv_heads": 1, "attention": "mla", "state": {"conv_bytes": null}},
        "generation": {"tp": 3, "pp": 1}})",
    R"({"model": {"state": {"ssm_heads": null, "ssm_head_bytes": null}}, "context": {"tp": 3}})",
    // no attention at all
    R"({"model": {"state": {"layers": [0, 1, 2, 3]}}, "context": {"blocks": 4},
        "generation": {"blocks": 4}})",
};

void require_good(const handoff_run& run) {
  BOOST_TEST_INFO(run.output());
  BOOST_REQUIRE(run.exit_status() == 0);
  BOOST_TEST(run.check_dump() == "");
}

} // namespace

BOOST_AUTO_TEST_SUITE(handoff_state)

BOOST_DATA_TEST_CASE(state_arrives_whole_and_in_its_place, make(lanes) * make(shapes), lane,
                     shape) {
  require_good(handoff_run{scenario(shape, lane)});
}

BOOST_AUTO_TEST_CASE(state_is_counted_once_a_request_and_not_at_all_if_all_is_cached) {
  const handoff_run run{scenario(R"({})", "auto")};
  require_good(run);
  // 30 + 80 + 12 tokens of 2 layers, key and value, 4 heads of 16 elements of 2 bytes; 3 states.
  const auto cache = (30 + 80 + 12) * 2 * 2 * 4 * 16 * 2;
  BOOST_TEST(run.lines().back()["bytes"] == cache + 3 * 2 * (1003 + 7 * 65));
}

BOOST_AUTO_TEST_CASE(a_flipped_byte_of_a_state_in_the_dump_is_found) {
  const handoff_run run{scenario(R"({"requests": [{"id": 1, "tokens": 9}]})", "auto")};
  require_good(run);
  std::ifstream text{run.dump() / "generation-0.json"};
  const auto dump = json::parse(text);
  const auto& buffers = dump["buffers"];
  const auto conv = std::find_if(buffers.begin(), buffers.end(),
                                 [](const json& buffer) { return buffer["role"] == "conv"; });
  BOOST_REQUIRE((conv != buffers.end()));
  const auto& requests = dump["requests"];
  const auto entry = std::find_if(requests.begin(), requests.end(),
                                  [](const json& item) { return item["group"] == "state"; });
  BOOST_REQUIRE((entry != requests.end()));
  const auto place =
      (*conv)["offset"].get<std::streamoff>() +
      (*entry)["blocks"][0].get<std::streamoff>() * (*conv)["slot_stride"].get<std::streamoff>() +
      1002;
  const auto file = dump["pools"][(*conv)["pool"].get<std::size_t>()]["file"].get<std::string>();
  std::fstream pool{run.dump() / file, std::ios::binary | std::ios::in | std::ios::out};
  pool.seekg(place);
  char byte = 0;
  pool.get(byte);
  pool.seekp(place);
  pool.put(static_cast<char>(~byte));
  pool.close();
  BOOST_TEST(run.check_dump() != "");
}

BOOST_AUTO_TEST_SUITE_END()
