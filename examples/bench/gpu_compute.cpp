#include <fmt/format.h>

#include "examples/bench/cases.hpp"
#include "examples/bench/gpu_load.hpp"
#include "examples/bench/gpu_pair.hpp"
#include "examples/bench/plot.hpp"

namespace baton::bench {

namespace {

constexpr std::uint64_t gibi = 1u << 30;
constexpr std::uint64_t fragment = 16u << 10;

/// A model's work on one of the GPUs.
struct workload {
  const char* where;
  const char* what;
  const char* kind; ///< of `gpu_load`
};

constexpr workload workloads[]{{"destination", "matrix product", "matrix"},
                               {"destination", "memory-bound", "memory"},
                               {"source", "matrix product", "matrix"},
                               {"source", "memory-bound", "memory"}};

remote_rank& host_of(const workload& work, gpu_pair& ranks) {
  return std::string{work.where} == "source" ? ranks.context() : ranks.generation();
}

std::vector<double> run_load(const workload& work, gpu_pair& ranks, std::size_t samples) {
  return host_of(work, ranks)
      .ask("load", {{"kind", work.kind}, {"samples", samples}})
      .get<std::vector<double>>();
}

/// Measures a workload alone, and while jobs are pulled without a pause.
void add_slowdown(findings& found, const workload& work, gpu_pair& ranks, std::uint32_t blocks,
                  const settings& how) {
  const auto alone = summarize(run_load(work, ranks, how.runs));
  ranks.generation().ask("keep_pulling");
  auto meanwhile = run_load(work, ranks, how.runs);
  const auto pulled = ranks.generation().ask("stop_pulling");
  for (auto& time : meanwhile)
    time /= alone.median;
  const auto rate = pulled.at("bytes").get<double>() / pulled.at("us").get<double>() / 1e3;
  const auto name = fmt::format("{} {}, {} blocks", work.where, work.what, blocks);
  found.figures.push_back({name, "x time", summarize(meanwhile), {}});
  found.figures.push_back({name + ": pulls", "GB/s", summarize({rate}), {}});
  found.figures.push_back({name + ": alone", "us", alone, {}});
}

void add_alone(findings& found, gpu_pair& ranks, const settings& how) {
  const auto product = summarize(run_load(workloads[0], ranks, how.runs)).median;
  const auto sum = summarize(run_load(workloads[1], ranks, how.runs)).median;
  found.notes.push_back(fmt::format(
      "alone on the destination GPU: matrix product 8192 x 8192 x 8192 in bf16 at {:.0f} TFLOP/s "
      "(own WMMA kernel), sum of two arrays at {:.2f} TB/s",
      gpu_load::operations() / product / 1e6, gpu_load::traffic() / sum / 1e6));
}

} // namespace

findings measure_gpu_compute(const settings& how) {
  findings found;
  gpu_parts parts{found, 0};
  const auto job = how.sized<std::uint64_t>(gibi, gibi / 32);
  for (const std::uint32_t blocks : {4u, 8u, 16u, 32u})
    parts.run(fmt::format("{} thread blocks", blocks), [&](gpu_pair& ranks) {
      auto options = how.plane;
      options.lanes = lane_policy::mapped;
      options.gpu_blocks = blocks;
      const auto rates = measure_turns(ranks, fragments_of(fragment, job), options, how);
      found.figures.push_back(
          {fmt::format("idle GPUs, {} blocks: pulls", blocks), "GB/s", summarize(rates.pull), {}});
      if (blocks == 4)
        add_alone(found, ranks, how);
      for (const auto& work : workloads)
        add_slowdown(found, work, ranks, blocks, how);
      // The pulls went on after the check, so once more.
      ranks.prepare();
      static_cast<void>(ranks.pull());
      ranks.check();
    });
  parts.end();
  found.notes.push_back(fmt::format("jobs of {} in fragments of {}, one after the other",
                                    size_text(job), size_text(fragment)));
  return found;
}

} // namespace baton::bench
