#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace baton::test {

/// A scenario run by the real program in a directory of its own, which is removed at the end.
class handoff_run {
public:
  /// Runs the scenario to its end; the program is killed after a minute.
  ///
  /// @param options  of the command line, besides the files.
  /// @param by       what runs the program, with its arguments.
  explicit handoff_run(const nlohmann::json& scenario, const std::string& options = "",
                       const std::string& by = "timeout -k 5 60");
  ~handoff_run();
  handoff_run(const handoff_run&) = delete;
  handoff_run& operator=(const handoff_run&) = delete;

  [[nodiscard]] int exit_status() const noexcept { return exit_status_; }
  /// What the program printed, on both streams.
  [[nodiscard]] const std::string& output() const noexcept { return output_; }
  /// The lines of `--json`; the last one is the summary.
  [[nodiscard]] std::vector<nlohmann::json> lines() const;
  [[nodiscard]] std::filesystem::path dump() const { return directory_ / "dump"; }
  /// Checks the dump with a program that shares nothing with this one; returns what it says, empty
  /// if all is well.
  [[nodiscard]] std::string check_dump() const;

private:
  std::filesystem::path directory_;
  int exit_status_ = -1;
  std::string output_;
};

/// Runs a shell command; returns its exit status, and what it printed in `output`.
[[nodiscard]] int run_command(const std::string& command, std::string& output);

} // namespace baton::test
