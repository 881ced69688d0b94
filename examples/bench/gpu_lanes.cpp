#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "examples/bench/cases.hpp"
#include "examples/bench/gpu_pair.hpp"
#include "examples/bench/perftest.hpp"
#include "examples/bench/plot.hpp"

namespace baton::bench {

namespace {

constexpr std::uint64_t kibi = 1u << 10;
constexpr std::uint64_t mebi = 1u << 20;
constexpr std::uint64_t gibi = 1u << 30;
constexpr std::size_t most_references = 8192; ///< fragments that are copied one by one
constexpr std::size_t perftest_runs = 5;      ///< each is a mean over many messages
constexpr double giga = 1e9;

/// What is moved: jobs of each size, in fragments of each size.
struct sweep {
  std::vector<std::uint64_t> jobs;
  std::vector<std::uint64_t> fragments;
  std::uint64_t plotted = 0; ///< the job size that is drawn
};

sweep sweep_of(const settings& how) {
  if (how.quick)
    return {{32 * mebi}, {512, 64 * kibi}, 32 * mebi};
  return {{32 * mebi, gibi, 8 * gibi},
          {512, 2 * kibi, 4 * kibi, 16 * kibi, 64 * kibi, 256 * kibi, mebi},
          gibi};
}

std::string name_of(std::uint64_t job, std::uint64_t fragment) {
  return fmt::format("{} of {}", size_text(job), size_text(fragment));
}

std::string fewer_runs(const std::string& name, std::size_t runs, const settings& how) {
  return fmt::format("{}: {} instead of {} runs, since each takes long", name, runs, how.runs);
}

std::vector<double> divided_by(std::vector<double> values, double divisor) {
  for (auto& value : values)
    value /= divisor;
  return values;
}

void add_rate(findings& found, const std::string& name, const std::vector<double>& rates,
              std::optional<target> wanted, const settings& how) {
  found.figures.push_back({name, "GB/s", summarize(rates), wanted});
  if (rates.size() < how.runs)
    found.notes.push_back(fewer_runs(name, rates.size(), how));
}

void add_point(findings& found, const std::string& curve, bool reference, std::uint64_t fragment,
               const std::vector<double>& rates) {
  found.points.push_back({curve, reference, fragment, summarize(rates).median});
}

std::optional<target> mapped_target(std::uint64_t job, std::uint64_t fragment,
                                    const plane_options& options) {
  if (job >= gibi && fragment >= kibi && options.gpu_blocks == 16)
    return at_least(0.90);
  return std::nullopt;
}

/// One job on the mapped lane, in turns with the copy engine. @returns the rates of the latter.
std::vector<double> add_mapped(findings& found, gpu_pair& ranks, std::uint64_t job,
                               std::uint64_t fragment, const settings& how,
                               const plane_options& options, bool plotted) {
  const auto name = name_of(job, fragment);
  const auto rates = measure_turns(ranks, fragments_of(fragment, job), options, how);
  const bool small = job == 32 * mebi && fragment == 4 * kibi;
  add_rate(found, name, rates.pull, small ? std::optional{at_least(150)} : std::nullopt, how);
  found.figures.push_back({name + " / contiguous copy", "x",
                           summarize(ratios(rates.pull, rates.contiguous)),
                           mapped_target(job, fragment, options)});
  if (plotted) {
    add_point(found, fmt::format("baton mapped, {} jobs", size_text(job)), false, fragment,
              rates.pull);
    add_point(found, "contiguous copy, copy engine", true, fragment, rates.contiguous);
  }
  return rates.contiguous;
}

/// What moving fragments one by one gives.
void add_references(findings& found, gpu_pair& ranks, std::uint64_t fragment, std::uint64_t lent,
                    const settings& how) {
  const auto count = std::min<std::size_t>(most_references, lent / fragment);
  const auto measure = [&](const char* which, const std::string& title) {
    static_cast<void>(ranks.copy_fragments(which, fragment, count));
    std::vector<double> rates;
    while (rates.size() < how.runs)
      rates.push_back(ranks.copy_fragments(which, fragment, count));
    found.figures.push_back({fmt::format("{} x {}, {}", count, size_text(fragment), title),
                             "GB/s",
                             summarize(rates),
                             {}});
    add_point(found, title, true, fragment, rates);
  };
  measure("each", "one copy each");
  measure("batch", "cudaMemcpyBatchAsync");
}

/// What UCX alone reaches between the GPUs. GB/s.
double measure_perftest(const settings& how, const plane_options& options, std::size_t message,
                        std::uint64_t bytes) {
  return run_perftest(how.perftest, options, std::max<std::size_t>(bytes / message, 1),
                      {message, perftest_memory::cuda}) /
         giga;
}

/// The same several times, each for about half a second.
std::vector<double> measure_perftests(const settings& how, const plane_options& options,
                                      std::size_t message) {
  const auto first = measure_perftest(how, options, message, 64 * mebi);
  const auto bytes = static_cast<std::uint64_t>(how.sized(first / 2, 0.1) * giga);
  std::vector<double> rates;
  while (rates.size() < perftest_runs)
    rates.push_back(measure_perftest(how, options, message, bytes));
  return rates;
}

std::string perftest_note(const plane_options& options, std::size_t message) {
  auto note =
      fmt::format("ucx_perftest -e -t ucp_am_bw -m cuda, messages of {}, with", size_text(message));
  for (const auto& [name, value] : perftest_environment(options, perftest_memory::cuda))
    note += fmt::format(" {}={}", name, value);
  return note;
}

/// One job on the ucx lane. @param alone what `ucx_perftest` reached; empty if it did not run.
void add_ucx(findings& found, gpu_pair& ranks, std::uint64_t job, std::uint64_t fragment,
             const settings& how, const plane_options& options, const std::vector<double>& alone,
             bool plotted) {
  const auto name = name_of(job, fragment);
  const auto rates = measure_turns(ranks, fragments_of(fragment, job), options, how).pull;
  const bool judged = job == gibi && fragment >= 4 * kibi;
  const auto judge = [&](double limit) {
    return judged ? std::optional{at_least(limit)} : std::nullopt;
  };
  add_rate(found, name, rates, judge(300), how);
  if (!alone.empty())
    found.figures.push_back({name + " / ucx_perftest", "x",
                             summarize(divided_by(rates, summarize(alone).median)), judge(0.8)});
  if (!plotted)
    return;
  add_point(found, fmt::format("baton ucx, {} jobs", size_text(job)), false, fragment, rates);
  if (!alone.empty())
    add_point(found, "ucx_perftest at the chunk size", true, fragment, alone);
}

plane_options ucx_between_gpus(const settings& how) {
  auto options = how.plane;
  options.lanes = lane_policy::ucx;
  options.chunk_bytes = how.gpu_chunk_bytes;
  return options;
}

} // namespace

findings measure_gpu_mapped(const settings& how) {
  findings found;
  auto options = how.plane;
  options.lanes = lane_policy::mapped;
  const auto wanted = sweep_of(how);
  const auto lent = wanted.jobs.back();
  gpu_parts parts{found, lent};
  for (const auto job : wanted.jobs) {
    std::vector<double> copies;
    for (const auto fragment : wanted.fragments)
      parts.run(name_of(job, fragment), [&](gpu_pair& ranks) {
        const auto more =
            add_mapped(found, ranks, job, fragment, how, options, job == wanted.plotted);
        copies.insert(copies.end(), more.begin(), more.end());
      });
    if (!copies.empty())
      found.figures.push_back(
          {size_text(job) + ", contiguous copy", "GB/s", summarize(copies), {}});
  }
  for (const auto fragment : wanted.fragments)
    parts.run(size_text(fragment) + " copies",
              [&](gpu_pair& ranks) { add_references(found, ranks, fragment, lent, how); });
  parts.end();
  found.notes.push_back(fmt::format("{} thread blocks", options.gpu_blocks));
  return found;
}

findings measure_gpu_ucx(const settings& how) {
  findings found;
  const auto options = ucx_between_gpus(how);
  std::vector<double> alone;
  try {
    alone = measure_perftests(how, options, options.chunk_bytes);
    found.figures.push_back({"ucx_perftest", "GB/s", summarize(alone), {}});
  } catch (const std::exception& failed) {
    found.problems.push_back(failed.what());
  }
  found.notes.push_back(perftest_note(options, options.chunk_bytes));
  const auto wanted = sweep_of(how);
  gpu_parts parts{found, 0};
  for (const auto job : wanted.jobs)
    for (const auto fragment : wanted.fragments)
      parts.run(name_of(job, fragment), [&](gpu_pair& ranks) {
        add_ucx(found, ranks, job, fragment, how, options, alone, job == wanted.plotted);
      });
  parts.end();
  return found;
}

findings measure_gpu_tcp(const settings& how) {
  findings found;
  auto options = how.plane;
  options.lanes = lane_policy::ucx;
  options.tcp_devices = "lo";
  options.ucx_transports = "tcp";
  const auto job = how.sized<std::uint64_t>(256 * mebi, 32 * mebi);
  constexpr auto fragment = 16 * kibi;
  gpu_parts parts{found, 0};
  parts.run("tcp", [&](gpu_pair& ranks) {
    auto some = how;
    some.runs = (how.runs + perftest_runs - 1) / perftest_runs;
    std::vector<double> alone;
    std::vector<double> own;
    for (std::size_t turn = 0; turn < perftest_runs; ++turn) {
      alone.push_back(measure_perftest(how, options, perftest_message, job));
      const auto pulls = measure_turns(ranks, fragments_of(fragment, job), options, some).pull;
      own.insert(own.end(), pulls.begin(), pulls.end());
    }
    add_rate(found, name_of(job, fragment), own, {}, how);
    found.figures.push_back({"ucx_perftest", "GB/s", summarize(alone), {}});
    found.figures.push_back({"baton / ucx_perftest", "x",
                             summarize(divided_by(own, summarize(alone).median)), at_least(1.5)});
    found.notes.push_back(perftest_note(options, perftest_message));
    found.notes.push_back(ranks.lane());
  });
  parts.end();
  return found;
}

} // namespace baton::bench
