#include <cstdio>
#include <exception>
#include <fstream>
#include <random>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "examples/soak/rank.hpp"
#include "examples/soak/soak.hpp"

namespace {

using namespace baton::soak;

int run(const settings& how) {
  const auto found = run_soak(how);
  print(found, how);
  if (!how.json.empty() && !(std::ofstream{how.json} << as_json(found, how).dump(1) << std::endl)) {
    fmt::print(stderr, "baton-soak: --json {}: cannot be written\n", how.json);
    return 1;
  }
  return found.ok() ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
  settings how;
  how.seed = std::random_device{}();
  double minutes = 0;
  double seconds = 30;
  auto margin = how.margin.count();
  int rank_fd = -1;
  CLI::App app{
      "Hands requests over between many instances with random faults, each rank a process "
      "of its own, and checks every byte, what is left behind, and how long it takes until "
      "the blocks are free again."};
  auto* by_seconds = app.add_option("--seconds", seconds, "how long")
                         ->check(CLI::Range(1.0, 1e7))
                         ->capture_default_str();
  app.add_option("--minutes", minutes, "the same")
      ->check(CLI::Range(0.1, 1e6))
      ->excludes(by_seconds);
  app.add_option("--seed", how.seed, "of everything that is drawn; random unless given");
  app.add_option("--concurrency", how.concurrency, "requests in flight")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--margin-ms", margin, "how long after its deadline a request may end")
      ->check(CLI::Range(1, 60'000))
      ->capture_default_str();
  app.add_option("--json", how.json, "write the figures to this file");
  app.add_flag("--stop-early", how.stop_early, "end at the first problem");
  app.add_flag("--reuse-early", how.reuse_early,
               "let context ranks rewrite blocks that they have offered; the soak must fail");
  app.add_option("--rank-fd", rank_fd)->group("");
  CLI11_PARSE(app, argc, argv);

  if (rank_fd >= 0)
    return run_rank(rank_fd);
  how.duration = std::chrono::milliseconds{
      static_cast<std::int64_t>((minutes > 0 ? minutes * 60 : seconds) * 1000)};
  how.margin = std::chrono::milliseconds{margin};
  try {
    return run(how);
  } catch (const std::exception& problem) {
    fmt::print(stderr, "baton-soak: seed {}: {}\n", how.seed, problem.what());
    return 1;
  }
}
