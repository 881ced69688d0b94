#include <fmt/format.h>

#include "examples/bench/actor_pair.hpp"
#include "examples/bench/actor_rank.hpp"
#include "examples/bench/cases.hpp"
#include "examples/bench/gpu_pair.hpp"
#include "examples/bench/latency.hpp"
#include "examples/bench/plot.hpp"

namespace baton::bench {

namespace {

constexpr std::uint64_t mebi = 1u << 20;

actor_pair start_ranks(const gpu_setup& setup, const plane_options& options) {
  const auto places = find_gpus();
  return {actor_start(instance_role::context, setup, places.context, options),
          actor_start(instance_role::generation, setup, places.generation, options)};
}

void add_together(findings& found, const plane_options& options, const std::string& lane,
                  const settings& how) {
  constexpr std::uint64_t fragment = 16u << 10;
  const auto bytes = how.sized(32 * mebi, mebi);
  constexpr std::size_t most = 64;
  auto ranks = start_ranks(fragments_of(fragment, bytes, most), options);
  std::size_t next = 0;
  for (const std::size_t count : {std::size_t{1}, std::size_t{8}, most}) {
    std::vector<double> us;
    std::vector<double> rates;
    for (std::size_t run = 0; run <= how.runs; ++run) {
      const auto time = ranks.hand_over_together(next, count);
      next += count;
      if (run == 0)
        continue;
      us.push_back(time);
      rates.push_back(static_cast<double>(bytes * count) / time / 1e3);
    }
    const auto name = fmt::format("{}: {} x {} at once", lane, count, size_text(bytes));
    found.figures.push_back({name, "GB/s", summarize(rates), {}});
    found.figures.push_back({name, "us", summarize(us), {}});
  }
  ranks.check();
  ranks.end();
}

} // namespace

findings measure_gpu_requests(const settings& how) {
  findings found;
  found.notes.push_back(to_string(find_gpus()));
  found.notes.push_back("whole requests of 16 KiB fragments, from request_and_receive_async to the "
                        "end of all");
  const auto attempt = [&](plane_options options, lane_policy lanes, const std::string& name) {
    options.lanes = lanes;
    try {
      add_together(found, options, name, how);
    } catch (const std::exception& failed) {
      found.problems.push_back(fmt::format("{}: {}", name, failed.what()));
    }
  };
  auto chunked = how.plane;
  chunked.chunk_bytes = how.gpu_chunk_bytes;
  attempt(how.plane, lane_policy::mapped, "mapped");
  attempt(chunked, lane_policy::ucx, "ucx");
  return found;
}

findings measure_gpu_latency(const settings& how) {
  constexpr double most = 2.5;
  const auto batch = how.sized(200u, 20u);
  gpu_setup setup;
  setup.layers = latency_layers;
  setup.head_dim = fragment_bytes / tokens_per_block / 2; // bf16
  setup.tokens = tokens_per_block;
  setup.requests = batch;
  auto ranks = start_ranks(setup, how.plane);
  auto found = compare_latency(ranks, how.runs, batch, most);
  found.notes.push_back(to_string(find_gpus()));
  return found;
}

} // namespace baton::bench
