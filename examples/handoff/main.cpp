#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "examples/handoff/rank.hpp"
#include "examples/handoff/report.hpp"
#include "examples/handoff/runner.hpp"
#include "examples/handoff/scenario.hpp"

namespace {

using namespace baton;
using namespace baton::handoff;

constexpr int exit_ok = 0;
constexpr int exit_failed = 1;
constexpr int exit_invalid = 2;

struct arguments {
  std::string scenario;
  std::string json;
  run_settings settings;
  bool quiet = false;
};

int complain(const error& problem) {
  std::fputs(fmt::format("baton-handoff: {}\n", problem.text).c_str(), stderr);
  return exit_failed;
}

int run_file(arguments& given) {
  std::ifstream file{given.scenario, std::ios::binary};
  given.settings.scenario_text.assign(std::istreambuf_iterator<char>{file}, {});
  if (!file)
    return complain({errc::invalid_argument, given.scenario + ": cannot be read"});
  auto scenario = parse_scenario(given.settings.scenario_text);
  if (!scenario) {
    complain({scenario.error().code, given.scenario + ": " + scenario.error().text});
    return exit_invalid;
  }
  const auto result = run_scenario(*scenario, given.settings);
  if (!result)
    return complain(result.error());
  print_warnings(stderr, *result);
  if (given.quiet)
    print_problems(stderr, *result);
  if (!given.json.empty())
    if (auto written = write_json_lines(given.json, *scenario, *result); !written)
      return complain(written.error());
  if (!given.quiet)
    print_table(*scenario, *result);
  return result->ok() ? exit_ok : exit_failed;
}

/// A result that nobody could read is no success.
int deliver(int status) {
  std::cout.flush();
  if (std::cout && std::fflush(stdout) == 0)
    return status;
  return complain({errc::out_of_resources, "standard output cannot be written"});
}

} // namespace

int main(int argc, char** argv) {
  arguments given;
  int rank_fd = -1;
  CLI::App app{
      "Hands requests over between the ranks of a context and a generation instance, each a "
      "process of its own, and checks every byte."};
  app.add_option("scenario", given.scenario, "What to run, e.g. examples/scenarios/default.json");
  app.add_option("--dump", given.settings.dump,
                 "Write all pools and block tables to this directory");
  app.add_option("--json", given.json, "Write one JSON object per request and rank to this file");
  app.add_flag("--quiet", given.quiet, "Print problems only");
  app.add_flag("--isolate-gpus", given.settings.isolate_gpus,
               "Let each rank process see its own GPU only (CUDA_VISIBLE_DEVICES)");
  app.add_flag("--agree", given.settings.agree,
               "Let the ranks of each instance agree on what ended, and check that they do");
  app.add_flag(
         "--reuse", given.settings.reuse,
         "Let ranks check and rewrite the blocks of each request as soon as it has ended, and "
         "look at the end whether anything is left of it")
      ->excludes("--dump");
  app.add_option("--tcp", given.settings.tcp_devices,
                 "Let the ucx lane use tcp on these network devices, e.g. lo");
  app.add_option("--ucx-tls", given.settings.ucx_transports,
                 "UCX transports of the ucx lane, in UCX's own words");
  app.add_option("--rank-fd", rank_fd)->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& problem) {
    return deliver(app.exit(problem) == 0 ? exit_ok : exit_failed);
  }
  if (rank_fd >= 0)
    return run_rank(rank_fd);
  if (given.scenario.empty())
    return complain(error{errc::invalid_argument, "name a scenario; --help says more"});
  given.settings.progress = !given.quiet && ::isatty(STDOUT_FILENO) == 1;
  try {
    return deliver(run_file(given));
  } catch (const std::system_error& problem) { // of fmt, for output that cannot be written
    return complain({errc::out_of_resources, problem.what()});
  }
}
