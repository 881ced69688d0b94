#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "examples/handoff/content.hpp"
#include "examples/handoff/scenario.hpp"
#include "messages/error.hpp"

namespace baton::handoff {

/// How one request went: what each of its ranks reported. A rank that did not live to report has
/// the entry that `missing_outcome` makes.
struct request_result {
  std::map<rank_name, nlohmann::json> outcomes;
  bool completed = false; ///< on every rank of the generation side that has a part
};

/// How a whole run went.
struct run_result {
  std::vector<request_result> requests; ///< as in the scenario
  wrong_bytes wrong;
  std::chrono::duration<double> duration{0};
  std::vector<std::string> problems; ///< why the run failed; empty for a good one
  std::vector<std::string> warnings; ///< what makes a good run prove less than it seems to

  [[nodiscard]] bool ok() const noexcept { return problems.empty(); }
  [[nodiscard]] std::size_t completed() const noexcept;
  /// Payload that the generation side read.
  [[nodiscard]] std::uint64_t bytes() const;
};

/// The outcome of a rank that reported none.
[[nodiscard]] nlohmann::json missing_outcome(const std::string& why);

/// Prints a row per request and what went wrong.
void print_table(const scenario& run, const run_result& result);

/// Prints what the run could not do, a line per warning.
void print_warnings(std::FILE* out, const run_result& result);

/// Prints why the run failed, a line per problem.
void print_problems(std::FILE* out, const run_result& result);

/// Prints a bar of how many requests ended, over the one before.
void print_progress(std::size_t ended, std::size_t requests);

/// Writes one JSON object a line: one per (request, rank), and the summary.
///
/// @returns `out_of_resources` when the file cannot be written.
[[nodiscard]] expected<> write_json_lines(const std::filesystem::path& path, const scenario& run,
                                          const run_result& result);

} // namespace baton::handoff
