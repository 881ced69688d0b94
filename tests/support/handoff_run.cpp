#include "tests/support/handoff_run.hpp"

#include <array>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/program.hpp"

namespace baton::test {

namespace {

std::filesystem::path new_directory() {
  auto name = (std::filesystem::temp_directory_path() / "baton_handoff_XXXXXX").string();
  if (!::mkdtemp(name.data()))
    throw std::runtime_error{"no temporary directory"};
  return name;
}

} // namespace

int run_command(const std::string& command, std::string& output) {
  output.clear();
  auto* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (!pipe)
    throw std::runtime_error{"cannot run " + command};
  std::array<char, 4096> buffer;
  while (const auto count = std::fread(buffer.data(), 1, buffer.size(), pipe))
    output.append(buffer.data(), count);
  const int status = ::pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

handoff_run::handoff_run(const nlohmann::json& scenario, const std::string& options,
                         const std::string& by)
    : directory_{new_directory()} {
  std::ofstream{directory_ / "scenario.json"} << scenario.dump(1);
  exit_status_ =
      run_command(fmt::format("{3} '{0}' '{1}/scenario.json' --dump '{1}/dump' "
                              "--json '{1}/out.jsonl' {2}",
                              find_program(BATON_HANDOFF), directory_.string(), options, by),
                  output_);
}

handoff_run::~handoff_run() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::vector<nlohmann::json> handoff_run::lines() const {
  std::ifstream file{directory_ / "out.jsonl"};
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);)
    lines.push_back(nlohmann::json::parse(line));
  return lines;
}

std::string handoff_run::check_dump() const {
  std::string output;
  const int status = run_command(fmt::format("python3 '{0}' '{1}/scenario.json' '{1}/dump'",
                                             find_program(BATON_CHECK_DUMP), directory_.string()),
                                 output);
  return status == 0 ? "" : output + fmt::format("exit status {}", status);
}

} // namespace baton::test
