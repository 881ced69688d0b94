#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "examples/bench/cases.hpp"
#include "examples/bench/rank_server.hpp"

namespace {

using namespace baton::bench;

constexpr std::size_t quick_runs = 2;

std::string list_of_cases() {
  std::string text = "Cases:\n";
  for (const auto& one : all_cases())
    text += fmt::format("  {:<10} {}\n", one.name, one.about);
  return text;
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& one : all_cases())
    all.emplace_back(one.name);
  return all;
}

/// Runs the cases that are wanted. @returns whether all of them could be measured.
bool run(const std::vector<std::string>& wanted, const settings& how, std::string& json_lines) {
  bool good = true;
  print_head();
  for (const auto& one : all_cases()) {
    if (std::ranges::find(wanted, one.name) == wanted.end())
      continue;
    try {
      const auto found = one.run(how);
      print(one.name, found);
      add_json_lines(json_lines, one.name, found);
    } catch (const std::exception& problem) {
      fmt::print(stderr, "baton-bench: {}: {}\n", one.name, problem.what());
      good = false;
    }
  }
  return good;
}

} // namespace

int main(int argc, char** argv) {
  settings how;
  std::vector<std::string> wanted = names();
  std::string json_file;
  int rank_fd = -1;

  CLI::App app{"Measures baton in host memory on this machine, each figure beside what it must be "
               "compared with, taken in turns. Nothing else should run meanwhile."};
  app.footer(list_of_cases());
  app.add_option("--only", wanted, "cases to run")->check(CLI::IsMember(names()));
  auto* runs = app.add_option("--runs", how.runs, "runs of each case, after one of warm-up")
                   ->check(CLI::Range(1, 1000))
                   ->capture_default_str();
  app.add_flag("--quick", how.quick, "small sizes and few runs: shows that all works, no figures");
  app.add_option("--threads", how.copy_threads, "threads of large copies, ours and memcpy's")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--perftest", how.perftest, "path of ucx_perftest")->check(CLI::ExistingFile);
  app.add_option("--json", json_file, "write one JSON object per figure to this file");
  app.add_option("--rank-fd", rank_fd)->group("");
  CLI11_PARSE(app, argc, argv);

  if (rank_fd >= 0)
    return serve_rank(rank_fd);
  if (how.quick && runs->count() == 0)
    how.runs = quick_runs;
  std::string json_lines;
  const bool good = run(wanted, how, json_lines);
  if (!json_file.empty() && !(std::ofstream{json_file} << json_lines << std::flush)) {
    fmt::print(stderr, "baton-bench: cannot write {}\n", json_file);
    return 1;
  }
  return good ? 0 : 1;
}
