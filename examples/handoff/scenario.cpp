#include "examples/handoff/scenario.hpp"

#include <algorithm>
#include <numeric>
#include <optional>
#include <unordered_set>
#include <utility>

#include "examples/handoff/json_document.hpp"
#include "examples/handoff/object_reader.hpp"
#include "examples/handoff/scenario_check.hpp"
#include "messages/wire.hpp"

namespace baton::handoff {

namespace {

using nlohmann::json;

constexpr bounds layer_count{1, 8192};
constexpr bounds rank_count{1, layout_limits::ranks};
constexpr bounds token_count{1, wire_limits::tokens};
constexpr bounds milliseconds_bounds{0, 86'400'000};

/// That no layer is claimed twice is checked where the layouts are built.
void check_coverage(const model_spec& model) {
  std::vector<bool> covered(model.layers);
  const auto cover = [&](const std::vector<std::uint32_t>& layers) {
    for (auto layer : layers)
      if (layer < model.layers)
        covered[layer] = true;
  };
  for (const auto& group : model.groups)
    cover(group.layers);
  if (model.state)
    cover(model.state->layers);
  const auto missing = std::ranges::find(covered, false) - covered.begin();
  if (std::cmp_less(missing, model.layers))
    refuse("model.groups: layer {} is in no group{}; add it to one", missing,
           model.state ? " and not in model.state.layers" : "");
}

std::vector<group_spec> read_groups(const json& list, const std::string& path) {
  std::vector<group_spec> groups;
  for (const auto& element : read_list(list, path)) {
    object_reader reader{element, fmt::format("{}[{}]", path, groups.size())};
    group_spec group;
    group.name = read_text(reader.required("name"), reader.path_of("name"));
    if (group.name.empty() || group.name.size() > layout_limits::name_bytes)
      refuse("{}: must have 1 to {} bytes", reader.path_of("name"), layout_limits::name_bytes);
    group.layers = read_numbers(reader.required("layers"), reader.path_of("layers"), {});
    group.window = reader.number_or("window", 0u, {});
    reader.close();
    groups.push_back(std::move(group));
  }
  if (groups.empty())
    refuse("{}: must name at least one group, or be left out", path);
  return groups;
}

state_spec read_state(const json& object, const std::string& path) {
  object_reader reader{object, path};
  state_spec state;
  state.layers = read_numbers(reader.required("layers"), reader.path_of("layers"), {});
  state.conv_bytes = reader.number_or("conv_bytes", 0u, {});
  state.ssm_heads = reader.number_or("ssm_heads", 0u, {});
  state.ssm_head_bytes = reader.number_or("ssm_head_bytes", 0u, {});
  reader.close();
  return state;
}

model_spec read_model(const json& object) {
  object_reader reader{object, "model"};
  model_spec model;
  model.layers = reader.number("layers", layer_count);
  model.kv_heads = reader.number("kv_heads", {1, 65'536});
  model.head_dim = reader.number("head_dim", {1, 1u << 20});
  model.type = reader.one_of<element_type>("dtype", {{"fp32", element_type::fp32},
                                                     {"bf16", element_type::bf16},
                                                     {"fp16", element_type::fp16},
                                                     {"fp8", element_type::fp8_e4m3},
                                                     {"int8", element_type::int8}});
  model.mla = reader.one_of_or<bool>("attention", false, {{"gqa", false}, {"mla", true}});
  if (model.mla && model.kv_heads != 1)
    refuse("model.kv_heads: {} must be 1, since mla has one latent head", model.kv_heads);
  if (const auto* state = reader.optional("state"))
    model.state = read_state(*state, "model.state");
  if (const auto* groups = reader.optional("groups")) {
    model.groups = read_groups(*groups, "model.groups");
    check_coverage(model);
  }
  reader.close();
  return model;
}

std::optional<std::uint32_t> parse_number(std::string_view digits) {
  if (digits.empty() || digits.size() > 9)
    return std::nullopt;
  std::uint32_t number = 0;
  for (char digit : digits) {
    if (digit < '0' || digit > '9')
      return std::nullopt;
    number = number * 10 + static_cast<std::uint32_t>(digit - '0');
  }
  return number;
}

memory_spec read_memory(const std::string& text, const std::string& path) {
  const std::string_view memory{text};
  const auto colon = memory.find(':');
  const auto place = memory.substr(0, colon);
  memory_spec spec;
  if (colon != std::string_view::npos)
    spec.device = parse_number(memory.substr(colon + 1));
  if (place == "cuda")
    spec.place = pool_place::cuda;
  else if (place == "cuda-vmm")
    spec.place = pool_place::cuda_vmm;
  const bool known =
      spec.on_gpu() ? colon == std::string_view::npos || spec.device : memory == "host";
  if (!known)
    refuse("{}: \"{}\" is not known; use one of: host, cuda, cuda:N, cuda-vmm, cuda-vmm:N", path,
           cut(text));
  return spec;
}

struct parsed_side {
  side_spec spec;
  memory_spec memory;
};

parsed_side read_side(const json& object, const std::string& name) {
  object_reader reader{object, name};
  parsed_side side;
  side.spec.tp = reader.number("tp", rank_count);
  side.spec.pp = reader.number("pp", rank_count);
  if (std::uint64_t{side.spec.tp} * side.spec.pp > layout_limits::ranks)
    refuse("{}.pp: {} times tp {} is more than {} ranks; use fewer", name, side.spec.pp,
           side.spec.tp, layout_limits::ranks);
  if (const auto* layers = reader.optional("pp_layers"))
    side.spec.pp_layers = read_numbers(*layers, reader.path_of("pp_layers"), layer_count);
  if (const auto* flag = reader.optional("attention_dp"))
    side.spec.attention_dp = read_flag(*flag, reader.path_of("attention_dp"));
  side.spec.tokens_per_block = reader.number("tokens_per_block", token_count);
  side.spec.inner = reader.one_of_or<inner_order>(
      "inner", inner_order::hnd, {{"HND", inner_order::hnd}, {"NHD", inner_order::nhd}});
  side.spec.pool = reader.one_of_or<pool_order>("pool", pool_order::block_first,
                                                {{"block_first", pool_order::block_first},
                                                 {"layer_first", pool_order::layer_first},
                                                 {"tensor", pool_order::tensor}});
  side.spec.blocks = reader.number<std::uint64_t>("blocks", {1, layout_limits::slots});
  if (const auto* memory = reader.optional("memory"))
    side.memory =
        read_memory(read_text(*memory, reader.path_of("memory")), reader.path_of("memory"));
  reader.close();
  return side;
}

std::vector<request_state> read_states(const json& list, const std::string& path,
                                       request_state complete) {
  const choice<request_state> choices[]{
      {to_string(complete), complete},
      {to_string(request_state::trans_error), request_state::trans_error}};
  std::vector<request_state> states;
  for (const auto& element : read_list(list, path))
    states.push_back(read_choice(element, fmt::format("{}[{}]", path, states.size()),
                                 std::span<const choice<request_state>>{choices}));
  if (states.empty())
    refuse("{}: must name at least one state", path);
  return states;
}

per_side<std::vector<request_state>> default_expectation() {
  return {{request_state::context_complete}, {request_state::generation_trans_complete}};
}

per_side<std::vector<request_state>> read_expectation(const json& object, const std::string& path) {
  object_reader reader{object, path};
  auto expect = default_expectation();
  for (auto side : both_sides)
    if (const auto* states = reader.optional(to_string(side)))
      expect[side] = read_states(*states, reader.path_of(to_string(side)), expect[side].front());
  reader.close();
  return expect;
}

void check_chunks(const request_spec& request, const std::string& path) {
  const auto sum = std::accumulate(request.chunks.begin(), request.chunks.end(), std::uint64_t{0});
  if (sum != request.tokens)
    refuse("{}.chunks: sums to {}, but tokens is {}; make them equal", path, sum, request.tokens);
  if (request.chunks.size() > wire_limits::slices)
    refuse("{}.chunks: has {} slices, at most {} are possible; use longer ones", path,
           request.chunks.size(), wire_limits::slices);
}

void check_cached_tokens(const request_spec& request, const std::string& path,
                         std::uint32_t tokens_per_block) {
  if (request.cached_tokens > request.tokens)
    refuse("{}.cached_tokens: {} is more than tokens, {}; use at most that", path,
           request.cached_tokens, request.tokens);
  if (request.cached_tokens != request.tokens && request.cached_tokens % tokens_per_block != 0)
    refuse(
        "{}.cached_tokens: {} must be a multiple of generation.tokens_per_block, {}, or equal to "
        "tokens, {}",
        path, request.cached_tokens, tokens_per_block, request.tokens);
}

request_spec read_request(const json& object, const std::string& path,
                          std::uint32_t generation_block) {
  object_reader reader{object, path};
  request_spec request;
  request.id = request_id{
      reader.number<std::uint64_t>("id", {0, std::numeric_limits<std::uint64_t>::max()})};
  request.tokens = reader.number("tokens", token_count);
  request.cached_tokens = reader.number_or("cached_tokens", 0u, {});
  check_cached_tokens(request, path, generation_block);
  if (const auto* chunks = reader.optional("chunks"))
    request.chunks = read_numbers(*chunks, reader.path_of("chunks"), token_count);
  else
    request.chunks = {request.tokens};
  check_chunks(request, path);
  const auto* expect = reader.optional("expect");
  request.expect =
      expect ? read_expectation(*expect, reader.path_of("expect")) : default_expectation();
  reader.close();
  return request;
}

std::vector<request_spec> read_request_series(const json& object) {
  object_reader reader{object, "requests"};
  const auto count = reader.number("count", {1, 1'000'000});
  const auto lengths = read_numbers(reader.required("tokens"), "requests.tokens", token_count);
  reader.close();
  if (lengths.empty())
    refuse("requests.tokens: must name at least one length");
  std::vector<request_spec> requests;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto tokens = lengths[i % lengths.size()];
    requests.push_back({request_id{i + 1ull}, tokens, 0, {tokens}, default_expectation()});
  }
  return requests;
}

std::vector<request_spec> read_requests(const json& value, std::uint32_t generation_block) {
  if (value.is_object())
    return read_request_series(value);
  std::vector<request_spec> requests;
  std::unordered_set<request_id> ids;
  for (const auto& element : read_list(value, "requests")) {
    const auto path = fmt::format("requests[{}]", requests.size());
    requests.push_back(read_request(element, path, generation_block));
    if (!ids.insert(requests.back().id).second)
      refuse("{}.id: {} is given twice; ids must differ", path, requests.back().id);
  }
  if (requests.empty())
    refuse("requests: must name at least one request");
  return requests;
}

rank_name read_who(const json& value, const std::string& path, const per_side<side_spec>& sides) {
  const auto text = read_text(value, path);
  for (auto side : both_sides) {
    const auto prefix = fmt::format("{}:", to_string(side));
    if (!text.starts_with(prefix))
      continue;
    const auto rank = parse_number(std::string_view{text}.substr(prefix.size()));
    const auto ranks = sides[side].tp * sides[side].pp;
    if (!rank || *rank >= ranks)
      refuse("{}: \"{}\" is not a rank; the {} side has ranks 0 to {}", path, cut(text),
             to_string(side), ranks - 1);
    return {side, *rank};
  }
  refuse("{}: \"{}\" is not a rank; write \"context:N\" or \"generation:N\"", path, cut(text));
}

fault_action read_action(const json& value, const std::string& path) {
  const choice<fault_action> choices[]{{"kill", fault_action::kill},
                                       {"stop", fault_action::stop},
                                       {"stop_resume", fault_action::stop_resume},
                                       {"cancel", fault_action::cancel},
                                       {"shutdown", fault_action::shutdown},
                                       {"restart", fault_action::restart},
                                       {"partition", fault_action::partition},
                                       {"partition_heal", fault_action::partition_heal}};
  return read_choice(value, path, std::span<const choice<fault_action>>{choices});
}

/// Only what goes through the network ends when that is cut.
void check_partition(const scenario& run, const std::string& path) {
  if (run.network != network_kind::netns)
    refuse("{}: there is no network to cut; set \"network\" to \"netns\"", path);
  if (run.lane != lane_policy::ucx)
    refuse("{}: is for the ucx lane only; set \"lane\" to \"ucx\"", path);
}

fault_spec read_fault(const json& object, const std::string& path, const scenario& run) {
  object_reader reader{object, path};
  fault_spec fault;
  fault.at = reader.one_of<probe_point>("at", {{"introduced", probe_point::introduced},
                                               {"requested", probe_point::requested},
                                               {"granted", probe_point::granted},
                                               {"pulling", probe_point::pulling},
                                               {"done", probe_point::done}});
  fault.act = read_action(reader.required("do"), reader.path_of("do"));
  if (fault.act == fault_action::partition || fault.act == fault_action::partition_heal)
    check_partition(run, reader.path_of("do"));
  fault.who = read_who(reader.required("who"), reader.path_of("who"), run.sides);
  fault.request = request_id{
      reader.number<std::uint64_t>("request", {0, std::numeric_limits<std::uint64_t>::max()})};
  fault.after = std::chrono::milliseconds{
      reader.number_or<std::uint64_t>("after_ms", 0, milliseconds_bounds)};
  reader.close();
  if (request_index(run, fault.request) == run.requests.size())
    refuse("{}.request: {} is not in requests; name one that is", path, fault.request);
  return fault;
}

void read_conduct(object_reader& reader, scenario& run) {
  run.flow = reader.one_of<workflow>("workflow", {{"ctx_first", workflow::ctx_first},
                                                  {"ctx_first_sync", workflow::ctx_first_sync},
                                                  {"gen_first1", workflow::gen_first1},
                                                  {"gen_first2", workflow::gen_first2}});
  run.concurrency = reader.number_or<std::size_t>("concurrency", run.requests.size(), {1});
  run.lane = reader.one_of_or<lane_policy>("lane", lane_policy::automatic,
                                           {{"auto", lane_policy::automatic},
                                            {"mapped", lane_policy::mapped},
                                            {"ucx", lane_policy::ucx}});
  run.timeout = std::chrono::milliseconds{
      reader.number_or<std::uint64_t>("timeout_ms", 10'000, {1, milliseconds_bounds.most})};
  run.network = reader.one_of_or<network_kind>(
      "network", network_kind::loopback,
      {{"loopback", network_kind::loopback}, {"netns", network_kind::netns}});
}

scenario read_scenario(const json& document) {
  object_reader reader{document, ""};
  scenario run;
  if (const auto* name = reader.optional("name"))
    run.name = read_text(*name, "name");
  run.seed =
      reader.number_or<std::uint64_t>("seed", 0, {0, std::numeric_limits<std::uint64_t>::max()});
  run.model = read_model(reader.required("model"));
  for (auto side : both_sides) {
    const std::string name{to_string(side)};
    auto parsed = read_side(reader.required(name), name);
    run.sides[side] = std::move(parsed.spec);
    run.memory[side] = parsed.memory;
  }
  run.requests = read_requests(reader.required("requests"), run.sides.generation.tokens_per_block);
  read_conduct(reader, run);
  if (const auto* faults = reader.optional("faults"))
    for (const auto& fault : read_list(*faults, "faults"))
      run.faults.push_back(read_fault(fault, fmt::format("faults[{}]", run.faults.size()), run));
  reader.close();
  if (auto possible = check_ranks(run); !possible)
    throw bad_field{possible.error().text};
  return run;
}

} // namespace

std::string to_string(rank_name name) {
  return fmt::format("{}:{}", to_string(name.side), name.rank);
}

expected<scenario> parse_scenario(std::string_view text) {
  try {
    return read_scenario(parse_document(text));
  } catch (const bad_field& problem) {
    return fail(errc::invalid_argument, "{}", problem.what());
  } catch (const json::exception& problem) {
    constexpr std::size_t longest = 500; // the parser repeats what it read last
    return fail(errc::invalid_argument, "the scenario is not JSON: {}",
                cut(problem.what(), longest));
  }
}

std::size_t request_index(const scenario& run, request_id id) noexcept {
  return static_cast<std::size_t>(std::ranges::find(run.requests, id, &request_spec::id) -
                                  run.requests.begin());
}

bool takes_part(const side_spec& side, std::uint32_t rank, std::size_t request) noexcept {
  return !side.attention_dp || rank % side.tp == request % side.tp;
}

std::uint32_t dp_group(const side_spec& side, std::size_t request) noexcept {
  return side.attention_dp ? static_cast<std::uint32_t>(request % side.tp) : 0;
}

} // namespace baton::handoff
