#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "tests/support/handoff_run.hpp"
#include "tests/support/program.hpp"

using namespace std::chrono_literals;
using nlohmann::json;

namespace {

/// One run of the program.
struct soak {
  int exit_status = -1;
  std::string output;
  json figures; ///< null if there are none
  std::chrono::steady_clock::duration lasted{};
};

soak run_soak(const std::string& options, const std::string& by) {
  const auto file =
      std::filesystem::temp_directory_path() / fmt::format("baton_soak_{}.json", ::getpid());
  soak run;
  const auto begin = std::chrono::steady_clock::now();
  run.exit_status = baton::test::run_command(fmt::format("{} '{}' {} --json '{}'", by,
                                                         baton::test::find_program(BATON_SOAK),
                                                         options, file.string()),
                                             run.output);
  run.lasted = std::chrono::steady_clock::now() - begin;
  if (std::ifstream in{file})
    run.figures = json::parse(in);
  std::filesystem::remove(file);
  return run;
}

} // namespace

BOOST_AUTO_TEST_SUITE(soak_program)

BOOST_AUTO_TEST_CASE(no_wrong_byte_no_leak_and_no_hang_under_random_faults) {
  const bool at_length = std::getenv("BATON_LONG") != nullptr;
  const auto run =
      run_soak(at_length ? "--minutes 10 --seed 1" : "--seconds 20 --seed 1", "timeout -k 5 800");
  BOOST_TEST_INFO(run.output);
  BOOST_REQUIRE(run.exit_status == 0);
  const auto& found = run.figures;
  for (const auto* none : {"wrong_bytes", "stray_bytes", "leaks", "late", "hung", "crashes"})
    BOOST_TEST(found[none] == 0);
  BOOST_TEST(found["completed"] > 100);
  BOOST_TEST(found["checks"] > 1); // of each side
  BOOST_TEST(found["reclaim"]["all"]["count"] > 10);
  BOOST_TEST(found["lanes"]["mapped"] > 0);
  BOOST_TEST(found["lanes"]["ucx"] > 0);
}

BOOST_AUTO_TEST_CASE(blocks_that_are_rewritten_while_they_are_offered_are_found_out) {
  const auto run = run_soak("--seed 1 --reuse-early --stop-early", "timeout -k 5 60");
  BOOST_TEST_INFO(run.output);
  BOOST_TEST(run.exit_status == 1);
  BOOST_TEST(run.figures["wrong_bytes"] > 0);
}

BOOST_AUTO_TEST_CASE(a_soak_that_is_interrupted_or_killed_leaves_no_process) {
  for (const auto* signal : {"INT", "KILL"}) {
    const auto run = run_soak("--seconds 60 --seed 1", fmt::format("timeout -s {} 2", signal));
    // It has ended when the last process that could print has.
    BOOST_TEST((run.lasted < 10s));
    BOOST_TEST(run.exit_status != 0);
  }
}

BOOST_AUTO_TEST_SUITE_END()
