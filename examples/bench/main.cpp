#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "examples/bench/cases.hpp"
#include "examples/bench/plot.hpp"
#include "examples/bench/rank_server.hpp"
#include "gpu/device.hpp"

namespace {

using namespace baton::bench;

constexpr std::size_t quick_runs = 2;

std::string list_of_cases() {
  std::string text = "Cases:\n";
  for (const auto& one : all_cases())
    text += fmt::format("  {:<12} {}\n", one.name, one.about);
  return text;
}

std::vector<std::string> names(bool host, bool gpu) {
  std::vector<std::string> all;
  for (const auto& one : all_cases())
    if (one.gpu ? gpu : host)
      all.emplace_back(one.name);
  return all;
}

/// What came of a whole run.
struct results {
  bool good = true; ///< whether all could be measured
  std::string json_lines;
  std::vector<plot_point> points;
};

void run(const bench_case& one, const settings& how, results& out) {
  if (one.gpu && baton::gpu_count() == 0) {
    fmt::print("{:<12} skipped: no GPU\n", one.name);
    return;
  }
  try {
    const auto found = one.run(how);
    print(one.name, found);
    add_json_lines(out.json_lines, one.name, found);
    out.points.insert(out.points.end(), found.points.begin(), found.points.end());
    out.good = out.good && found.problems.empty();
  } catch (const std::exception& problem) {
    fmt::print(stderr, "baton-bench: {}: {}\n", one.name, problem.what());
    out.good = false;
  }
}

/// Writes a text, if it has a place to go. @returns whether that went well.
bool write(const std::string& file, const std::string& text) {
  if (file.empty() || (std::ofstream{file} << text << std::flush))
    return true;
  fmt::print(stderr, "baton-bench: cannot write {}\n", file);
  return false;
}

} // namespace

int main(int argc, char** argv) {
  settings how;
  std::vector<std::string> wanted;
  bool on_gpu = false;
  std::string json_file;
  std::string plot_file;
  int rank_fd = -1;
  std::size_t chunk_kib = how.plane.chunk_bytes / 1024;
  std::size_t gpu_chunk_kib = how.gpu_chunk_bytes / 1024;

  CLI::App app{"Measures baton on this machine, each figure beside what it must be compared with, "
               "taken in turns. Nothing else should run meanwhile."};
  app.footer(list_of_cases());
  app.add_flag("--gpu", on_gpu, "run the cases between GPUs instead of those in host memory");
  app.add_option("--only", wanted, "cases to run")->check(CLI::IsMember(names(true, true)));
  auto* runs = app.add_option("--runs", how.runs, "runs of each case, after one of warm-up")
                   ->check(CLI::Range(1, 1000))
                   ->capture_default_str();
  app.add_flag("--quick", how.quick, "small sizes and few runs: shows that all works, no figures");
  app.add_option("--threads", how.plane.copy_threads, "threads of large copies, ours and memcpy's")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--chunk-kib", chunk_kib, "KiB of one chunk of the ucx lane")
      ->check(CLI::Range(4, 65536))
      ->capture_default_str();
  app.add_option("--credits", how.plane.credits, "chunks that one pull may have on its way")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--ring-chunks", how.plane.ring_chunks, "chunks of each staging ring")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--gpu-chunk-kib", gpu_chunk_kib, "the same between GPUs of one host")
      ->check(CLI::Range(4, 65536))
      ->capture_default_str();
  app.add_option("--gpu-blocks", how.plane.gpu_blocks, "thread blocks of one pull")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--gpu-streams", how.plane.gpu_streams, "pulls that run on the GPU at a time")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  app.add_option("--perftest", how.perftest, "path of ucx_perftest")->check(CLI::ExistingFile);
  app.add_option("--json", json_file, "write one JSON object per figure to this file");
  app.add_option("--plot", plot_file,
                 "draw GB/s over fragment size, of gpu-mapped and gpu-ucx, to this SVG file");
  app.add_option("--rank-fd", rank_fd)->group("");
  CLI11_PARSE(app, argc, argv);

  if (rank_fd >= 0)
    return serve_rank(rank_fd);
  if (wanted.empty())
    wanted = names(!on_gpu, on_gpu);
  how.plane.chunk_bytes = chunk_kib * 1024;
  how.gpu_chunk_bytes = gpu_chunk_kib * 1024;
  if (how.quick && runs->count() == 0)
    how.runs = quick_runs;
  results out;
  print_head();
  for (const auto& one : all_cases())
    if (std::ranges::find(wanted, one.name) != wanted.end()) {
      run(one, how, out);
      out.good = write(json_file, out.json_lines) && out.good; // as far as it has come
    }
  if (!out.points.empty())
    out.good = write(plot_file, draw_plot(out.points)) && out.good;
  return out.good ? 0 : 1;
}
