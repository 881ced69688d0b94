#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "examples/handoff/placement.hpp"
#include "examples/handoff/scenario.hpp"

using namespace baton;
using namespace baton::handoff;
using nlohmann::json;

namespace {

json base() {
  return json::parse(R"({
    "name": "base", "seed": 7,
    "model": {"layers": 4, "kv_heads": 4, "head_dim": 8, "dtype": "bf16", "attention": "gqa"},
    "context": {"tp": 2, "pp": 1, "tokens_per_block": 8, "inner": "HND", "pool": "block_first",
                "blocks": 64, "memory": "host"},
    "generation": {"tp": 1, "pp": 2, "tokens_per_block": 4, "inner": "NHD", "pool": "tensor",
                   "blocks": 64, "memory": "host"},
    "workflow": "ctx_first_sync",
    "requests": [{"id": 1, "tokens": 30},
                 {"id": 2, "tokens": 60, "cached_tokens": 16, "chunks": [25, 35]}],
    "concurrency": 2, "lane": "auto", "timeout_ms": 500
  })");
}

/// The base scenario with a JSON merge patch applied: null takes a field away.
expected<scenario> parse_patched(const std::string& patch) {
  auto document = base();
  document.merge_patch(json::parse(patch));
  return parse_scenario(document.dump());
}

struct refused_scenario {
  const char* patch;
  const char* names; ///< what the text starts with
};

const std::vector<refused_scenario> refused_scenarios{
    // Fields that are missing, unknown or of another type.
    {R"({"model": null})", "model: is missing"},
    {R"({"model": {"layers": null}})", "model.layers: is missing"},
    {R"({"context": {"tp": null}})", "context.tp: is missing"},
    {R"({"requests": null})", "requests: is missing"},
    {R"({"workflow": null})", "workflow: is missing"},
    {R"({"colour": "red"})", "colour: is not a known field"},
    {R"({"model": {"heads": 3}})", "model.heads: is not a known field"},
    {R"({"generation": {"ep": 2}})", "generation.ep: is not a known field"},
    {R"({"model": 3})", "model: must be an object"},
    {R"({"name": 3})", "name: 3 must be a string"},
    {R"({"context": {"tp": "2"}})", "context.tp: \"2\" must be a whole number"},
    {R"({"context": {"attention_dp": 1}})", "context.attention_dp: 1 must be true or false"},
    {R"({"seed": -1})", "seed: -1 must be a whole number"},
    {R"({"seed": 1.5})", "seed: 1.5 must be a whole number"},
    // The model.
    {R"({"model": {"layers": 0}})", "model.layers: 0"},
    {R"({"model": {"dtype": "fp4"}})", "model.dtype: \"fp4\" is not known"},
    {R"({"model": {"attention": "mha"}})", "model.attention: \"mha\" is not known"},
    {R"({"model": {"attention": "mla"}})", "model.kv_heads: 4 must be 1"},
    {R"({"model": {"groups": []}})", "model.groups: must name"},
    {R"({"model": {"groups": [{"layers": [0, 1, 2, 3]}]}})", "model.groups[0].name: is missing"},
    {R"({"model": {"groups": [{"name": "", "layers": [0]}]}})", "model.groups[0].name: must have"},
    {R"({"model": {"groups": [{"name": "full", "layers": [0, 1, 3]}]}})",
     "model.groups: layer 2 is in no group"},
    {R"({"model": {"groups": [{"name": "full", "layers": [0, 1, 2, 3]},
                              {"name": "swa", "layers": [3], "window": 8}]}})",
     "model.groups"},
    {R"({"model": {"groups": [{"name": "full", "layers": [0, 1, 2, 4]}]}})", "model.groups"},
    {R"({"model": {"state": {"layers": [1]}}})", "model.state: neither conv_bytes nor ssm_heads"},
    {R"({"model": {"state": 3}})", "model.state: must be an object"},
    {R"({"model": {"state": {"conv_bytes": 64}}})", "model.state.layers: is missing"},
    {R"({"model": {"state": {"layers": [], "conv_bytes": 64}}})", "model.state.layers: no layers"},
    {R"({"model": {"state": {"layers": [4], "conv_bytes": 64}}})", "model.state.layers: layer 4"},
    {R"({"model": {"state": {"layers": [1, 1], "conv_bytes": 64}}})",
     "model.state.layers: layer 1"},
    {R"({"model": {"state": {"layers": [1], "conv_bytes": -1}}})", "model.state.conv_bytes: -1"},
    {R"({"model": {"state": {"layers": [1], "conv_bytes": 64, "heads": 2}}})",
     "model.state.heads: is not a known field"},
    {R"({"model": {"state": {"layers": [1], "ssm_heads": 4}}})", "model.state.ssm_head_bytes: 0"},
    {R"({"model": {"state": {"layers": [1], "ssm_head_bytes": 4, "conv_bytes": 1}}})",
     "model.state.ssm_head_bytes: 4 with 0 ssm_heads"},
    {R"({"model": {"state": {"layers": [1], "ssm_heads": 1, "ssm_head_bytes": 4}}})",
     "context.tp: 2 is more than model.state.ssm_heads (1)"},
    {R"({"model": {"state": {"layers": [0, 1, 2, 3], "conv_bytes": 1}}})",
     "context.tp: model.state.conv_bytes are too few for 2 ranks, rank 0"},
    {R"({"model": {"state": {"layers": [1], "conv_bytes": 64},
                   "groups": [{"name": "full", "layers": [0, 1, 2, 3]}]}})",
     "model.state.layers: layer 1 is already in model.groups[0].layers"},
    {R"({"model": {"state": {"layers": [1], "conv_bytes": 64},
                   "groups": [{"name": "full", "layers": [0, 2]}]}})",
     "model.groups: layer 3 is in no group and not in model.state.layers"},
    {R"({"model": {"state": {"layers": [1], "conv_bytes": 64},
                   "groups": [{"name": "state", "layers": [0, 2, 3]}]}})",
     "model.groups[0].name: \"state\""},
    // More than there is memory or stack for.
    {R"({"requests": {"count": 1000001, "tokens": [1]}})", "requests.count: 1000001"},
    {R"({"model": {"layers": 8192}, "context": {"tp": 129}})", "context.tp: 129 ranks"},
    // The sides.
    {R"({"context": {"tp": 0}})", "context.tp: 0"},
    {R"({"generation": {"pp": 5}})", "generation.pp"},
    {R"({"generation": {"pp_layers": [1, 2]}})", "generation.pp_layers"},
    {R"({"generation": {"pp_layers": [4]}})", "generation.pp_layers"},
    {R"({"generation": {"pp_layers": [0, 4]}})", "generation.pp_layers[0]: 0"},
    {R"({"context": {"tp": 100, "pp": 100}})", "context.pp: 100"},
    {R"({"context": {"tokens_per_block": 0}})", "context.tokens_per_block: 0"},
    {R"({"context": {"inner": "DHN"}})", "context.inner: \"DHN\""},
    {R"({"context": {"pool": "slot_first"}})", "context.pool: \"slot_first\""},
    {R"({"context": {"blocks": 11}})", "context.blocks: 11 are too few, rank 0 needs 12"},
    {R"({"generation": {"blocks": 22}})", "generation.blocks: 22 are too few, rank 0 needs 23"},
    {R"({"context": {"memory": "disk"}})", "context.memory: \"disk\""},
    {R"({"context": {"memory": "cuda:"}})", "context.memory: \"cuda:\""},
    {R"({"context": {"memory": "cuda:x"}})", "context.memory: \"cuda:x\""},
    {R"({"context": {"memory": "host:1"}})", "context.memory: \"host:1\""},
    {R"({"generation": {"memory": "cuda-vmm1"}})", "generation.memory: \"cuda-vmm1\""},
    // What the numbers make together.
    {R"({"model": {"head_dim": 1048576, "kv_heads": 65536}, "context": {"blocks": 2147483648}})",
     "context.blocks: 2147483648 blocks of group \"full\""},
    {R"({"model": {"head_dim": 1048576, "kv_heads": 64}, "requests": [{"id": 1, "tokens": 3}],
         "generation": {"tokens_per_block": 1073741824}})",
     "generation.tokens_per_block: with 1073741824 a block"},
    {R"({"model": {"layers": 4096}, "generation": {"pp": 1}})",
     "generation.pool: rank 0 would have 8192 pools"},
    // The requests.
    {R"({"requests": []})", "requests: must name"},
    {R"({"requests": [{"tokens": 3}]})", "requests[0].id: is missing"},
    {R"({"requests": [{"id": 1, "tokens": 3}, {"id": 1, "tokens": 4}]})", "requests[1].id: 1"},
    {R"({"requests": [{"id": 1, "tokens": 0}]})", "requests[0].tokens: 0"},
    {R"({"requests": [{"id": 1, "tokens": 9, "chunks": [4, 4]}]})",
     "requests[0].chunks: sums to 8"},
    {R"({"requests": [{"id": 1, "tokens": 9, "chunks": []}]})", "requests[0].chunks: sums to 0"},
    {R"({"requests": [{"id": 1, "tokens": 9, "chunks": [9, 0]}]})", "requests[0].chunks[1]: 0"},
    {R"({"requests": [{"id": 1, "tokens": 9, "cached_tokens": 6}]})",
     "requests[0].cached_tokens: 6"},
    {R"({"requests": [{"id": 1, "tokens": 9, "cached_tokens": 12}]})",
     "requests[0].cached_tokens: 12"},
    {R"({"requests": [{"id": 1, "tokens": 9, "expect": {"context": []}}]})",
     "requests[0].expect.context: must name"},
    {R"({"requests": [{"id": 1, "tokens": 9,
                       "expect": {"context": ["GENERATION_TRANS_COMPLETE"]}}]})",
     "requests[0].expect.context[0]: "},
    {R"({"requests": [{"id": 1, "tokens": 9, "expect": {"router": ["TRANS_ERROR"]}}]})",
     "requests[0].expect.router: is not a known field"},
    {R"({"requests": {"count": 0, "tokens": [3]}})", "requests.count: 0"},
    // How the run goes.
    {R"({"workflow": "push"})", "workflow: \"push\""},
    {R"({"workflow": "gen_first3"})", "workflow: \"gen_first3\""},
    {R"({"concurrency": 0})", "concurrency: 0"},
    {R"({"lane": "rdma"})", "lane: \"rdma\""},
    {R"({"timeout_ms": 0})", "timeout_ms: 0"},
    {R"({"network": "wifi"})", "network: \"wifi\""},
    {R"({"faults": {}})", "faults: {} must be a list"},
    {R"({"faults": [{"at": "lunch", "do": "kill", "who": "context:0", "request": 1}]})",
     "faults[0].at: \"lunch\""},
    {R"({"faults": [{"at": "done", "do": "tickle", "who": "context:0", "request": 1}]})",
     "faults[0].do: \"tickle\""},
    {R"({"lane": "ucx",
         "faults": [{"at": "done", "do": "partition", "who": "context:0", "request": 1}]})",
     "faults[0].do: there is no network to cut; set \"network\" to \"netns\""},
    {R"({"network": "netns",
         "faults": [{"at": "done", "do": "partition_heal", "who": "context:0", "request": 1}]})",
     "faults[0].do: is for the ucx lane only; set \"lane\" to \"ucx\""},
    {R"({"faults": [{"at": "done", "do": "kill", "who": "context:2", "request": 1}]})",
     "faults[0].who: \"context:2\""},
    {R"({"faults": [{"at": "done", "do": "kill", "who": "router:0", "request": 1}]})",
     "faults[0].who: \"router:0\""},
    {R"({"faults": [{"at": "done", "do": "kill", "who": "context:0", "request": 3}]})",
     "faults[0].request: 3"},
    {R"({"context": {"attention_dp": true},
         "faults": [{"at": "introduced", "do": "kill", "who": "context:1", "request": 1}]})",
     "faults[0].request: context:1 has no part in request 1, which belongs to dp group 0"},
    {R"({"model": {"kv_heads": 1}, "generation": {"pp": 1},
         "faults": [{"at": "done", "do": "kill", "who": "context:3", "request": 2},
                    {"at": "requested", "do": "kill", "who": "context:4", "request": 2},
                    {"at": "granted", "do": "kill", "who": "context:4", "request": 2}],
         "context": {"tp": 9}})",
     "faults[2].request: no rank reads request 2 from context:4"},
};

/// A model of as many groups as layers.
json grouped_by_layer(std::size_t layers) {
  auto document = base();
  document["model"]["layers"] = layers;
  document["model"]["groups"] = json::array();
  for (std::size_t layer = 0; layer < layers; ++layer)
    document["model"]["groups"].push_back({{"name", std::to_string(layer)}, {"layers", {layer}}});
  return document;
}

} // namespace

BOOST_AUTO_TEST_SUITE(scenario_file)

BOOST_AUTO_TEST_CASE(a_complete_scenario_is_understood) {
  const auto run = parse_patched(R"({"faults": [
    {"at": "granted", "do": "stop_resume", "who": "generation:1", "request": 2,
     "after_ms": 30}]})");
  BOOST_REQUIRE_MESSAGE(run, run.error().text);
  BOOST_TEST(run->seed == 7u);
  BOOST_TEST(run->sides.generation.pp == 2u);
  BOOST_TEST((run->sides.generation.inner == inner_order::nhd));
  BOOST_TEST((run->sides.generation.pool == pool_order::tensor));
  BOOST_REQUIRE(run->requests.size() == 2u);
  BOOST_TEST((run->requests[0].chunks == std::vector{30u}));
  BOOST_TEST((run->requests[1].chunks == std::vector{25u, 35u}));
  BOOST_TEST(run->requests[1].cached_tokens == 16u);
  BOOST_TEST(run->timeout.count() == 500);
  BOOST_REQUIRE(run->faults.size() == 1u);
  BOOST_TEST(to_string(run->faults[0].who) == "generation:1");
  BOOST_TEST((run->faults[0].act == fault_action::stop_resume));
  BOOST_TEST(run->faults[0].after.count() == 30);
}

BOOST_AUTO_TEST_CASE(what_is_left_out_has_its_default) {
  const auto run = parse_patched(R"({"concurrency": null, "lane": null})");
  BOOST_REQUIRE_MESSAGE(run, run.error().text);
  BOOST_TEST(run->concurrency == 2u);
  BOOST_TEST((run->lane == lane_policy::automatic));
  BOOST_TEST(!run->sides.context.attention_dp);
  BOOST_TEST((run->requests[0].expect.context == std::vector{request_state::context_complete}));
}

BOOST_AUTO_TEST_CASE(a_series_of_requests_cycles_its_lengths) {
  const auto run = parse_patched(R"({"requests": {"count": 3, "tokens": [5, 6]}})");
  BOOST_REQUIRE_MESSAGE(run, run.error().text);
  BOOST_REQUIRE(run->requests.size() == 3u);
  BOOST_TEST(run->requests[2].id.value == 3u);
  BOOST_TEST(run->requests[2].tokens == 5u);
}

BOOST_AUTO_TEST_CASE(every_refusal_names_its_field) {
  for (const auto& refused : refused_scenarios) {
    BOOST_TEST_CONTEXT(refused.patch) {
      const auto run = parse_patched(refused.patch);
      BOOST_REQUIRE(!run);
      BOOST_TEST_INFO(run.error().text);
      BOOST_TEST(run.error().text.starts_with(refused.names));
      BOOST_TEST((run.error().code == errc::invalid_argument));
    }
  }
}

BOOST_AUTO_TEST_CASE(each_kind_of_memory_is_understood) {
  const auto run =
      parse_patched(R"({"context": {"memory": "cuda"}, "generation": {"memory": "cuda-vmm:12"}})");
  BOOST_REQUIRE_MESSAGE(run, run.error().text);
  BOOST_TEST((run->memory.context.place == pool_place::cuda));
  BOOST_TEST(!run->memory.context.device);
  BOOST_TEST((run->memory.generation.place == pool_place::cuda_vmm));
  BOOST_TEST((run->memory.generation.device == 12u));
}

BOOST_AUTO_TEST_CASE(ranks_are_spread_over_the_gpus_unless_one_is_named) {
  auto run = *parse_patched(R"({"context": {"memory": "cuda"}})");
  const auto gpu = [&](instance_role side, std::uint32_t rank, std::uint32_t gpus) {
    const auto found = gpu_of(run, {side, rank}, gpus);
    return found && *found ? static_cast<int>(**found) : -1;
  };
  BOOST_TEST(gpu(instance_role::context, 1, 8) == 1);
  // The generation side has host memory here, and needs a GPU to read that of the other.
  BOOST_TEST(gpu(instance_role::generation, 0, 8) == 2);
  BOOST_TEST(gpu(instance_role::generation, 1, 3) == 0);
  run.memory.generation = {pool_place::cuda_vmm, 1};
  BOOST_TEST(gpu(instance_role::generation, 0, 2) == 1);
  BOOST_TEST(gpu(instance_role::generation, 1, 2) == 1);
  const auto missing = gpu_of(run, {instance_role::generation, 0}, 1);
  BOOST_REQUIRE(!missing);
  BOOST_TEST((missing.error().code == errc::gpu_failed));
  BOOST_TEST(missing.error().text.starts_with("generation.memory: there is no GPU 1"));
  run.memory = {};
  BOOST_TEST(!needs_gpu(run));
  BOOST_TEST(gpu(instance_role::context, 0, 0) == -1);
}

BOOST_AUTO_TEST_CASE(a_model_with_state_is_understood) {
  const auto run = parse_patched(R"({"model": {"state": {"layers": [1, 3], "conv_bytes": 4096,
    "ssm_heads": 8, "ssm_head_bytes": 2048}}})");
  BOOST_REQUIRE_MESSAGE(run, run.error().text);
  BOOST_REQUIRE(run->model.state.has_value());
  BOOST_TEST((run->model.state->layers == std::vector{1u, 3u}));
  BOOST_TEST(run->model.state->conv_bytes == 4096u);
  BOOST_TEST(run->model.state->ssm_heads == 8u);
  BOOST_TEST(run->model.state->ssm_head_bytes == 2048u);
}

BOOST_AUTO_TEST_CASE(state_takes_one_block_a_request) {
  constexpr auto patch = R"({"model": {"state": {"layers": [0, 1, 2, 3], "conv_bytes": 64}},
    "context": {"blocks": 2}, "generation": {"blocks": BLOCKS}})";
  const auto with = [&](const char* blocks) {
    std::string text{patch};
    return parse_patched(text.replace(text.find("BLOCKS"), 6, blocks));
  };
  BOOST_TEST(with("2").has_value());
  const auto run = with("1");
  BOOST_REQUIRE(!run);
  BOOST_TEST(run.error().text.starts_with("generation.blocks: 1 are too few, rank 0 needs 2"));
}

BOOST_AUTO_TEST_CASE(cached_tokens_may_be_all_tokens) {
  BOOST_TEST(
      parse_patched(R"({"requests": [{"id": 1, "tokens": 9, "cached_tokens": 9}]})").has_value());
}

BOOST_AUTO_TEST_CASE(deep_and_long_text_is_refused_in_few_words) {
  const auto refused = [](std::string value) {
    auto text = base().dump();
    text.replace(text.find("\"base\""), 6, value);
    const auto result = parse_scenario(text);
    BOOST_TEST_REQUIRE(!result.has_value());
    BOOST_TEST(result.error().text.size() < 1000u);
    return result.error().text;
  };
  // Once every level was a frame of the stack when the text was written.
  const std::string deep(1'000'000, '[');
  BOOST_TEST(refused(deep + std::string(deep.size(), ']')).starts_with("name[0][0]"));
  const std::string levels(20, '[');
  BOOST_TEST(refused(levels + std::string(levels.size(), ']')) == "name: a list must be a string");
  const std::string value(100'000, 'x');
  BOOST_TEST(refused("\"x\", \"" + value + "\": 1").find("xxx...: is not a known field") !=
             std::string::npos);
  BOOST_TEST(refused(value).starts_with("the scenario is not JSON"));
}

BOOST_AUTO_TEST_CASE(text_that_is_no_json_is_refused) {
  for (const char* text : {"", "{", "[1]", "{\"a\": 1,}", "\xff"})
    BOOST_TEST(!parse_scenario(text));
}

BOOST_AUTO_TEST_CASE(a_key_that_is_given_twice_is_refused_by_name) {
  const auto refusal = [](const std::string& before, const std::string& after) {
    auto text = base().dump();
    const auto place = text.find(before);
    BOOST_REQUIRE(place != std::string::npos);
    text.replace(place, before.size(), after);
    const auto run = parse_scenario(text);
    return run ? "" : run.error().text;
  };
  BOOST_TEST(refusal(R"("lane":"auto")", R"("lane":"auto","lane":"ucx")") ==
             "lane: is given twice; keep one");
  BOOST_TEST(refusal(R"("layers":4)", R"("layers":4,"layers":4)") ==
             "model.layers: is given twice; keep one");
  BOOST_TEST(refusal(R"("id":2)", R"("id":2,"id":3)") ==
             "requests[1].id: is given twice; keep one");
  // In objects of their own, and in strings, they are no repeats.
  BOOST_TEST(refusal(R"("name":"base")", R"("name":"lane lane")") == "");
}

BOOST_AUTO_TEST_CASE(as_many_groups_as_a_layout_may_have_are_taken) {
  BOOST_TEST(parse_scenario(grouped_by_layer(64).dump()).has_value());
  const auto run = parse_scenario(grouped_by_layer(65).dump());
  BOOST_REQUIRE(!run);
  BOOST_TEST(run.error().text == "model.groups: 65 are more than 64; join some");
}

BOOST_AUTO_TEST_CASE(under_attention_dp_a_request_belongs_to_the_ranks_of_one_group) {
  side_spec side;
  side.tp = 2;
  side.pp = 2;
  BOOST_TEST(takes_part(side, 1, 4));
  BOOST_TEST(dp_group(side, 3) == 0u);
  side.attention_dp = true;
  for (std::uint32_t rank = 0; rank < 4; ++rank)
    BOOST_TEST(takes_part(side, rank, 5) == (rank % 2 == 1));
  BOOST_TEST(dp_group(side, 5) == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
