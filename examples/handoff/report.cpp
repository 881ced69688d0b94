#include "examples/handoff/report.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace baton::handoff {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::size_t bar_width = 40;
/// Of many problems, the first ones tell enough.
constexpr std::size_t shown_problems = 20;

/// The states of one side's ranks, each once.
std::string states_of(const request_result& result, instance_role side) {
  std::set<std::string> states;
  for (const auto& [name, outcome] : result.outcomes)
    if (name.side == side)
      states.insert(outcome["state"].is_null() ? "(none)" : outcome["state"].get<std::string>());
  return fmt::format("{}", fmt::join(states, " "));
}

std::string lanes_of(const request_result& result) {
  std::set<std::string> lanes;
  for (const auto& [name, outcome] : result.outcomes)
    for (const auto& source : outcome["sources"])
      lanes.insert(source["lane"].get<std::string>());
  return fmt::format("{}", fmt::join(lanes, " "));
}

std::uint64_t sum_of(const request_result& result, const char* field) {
  std::uint64_t sum = 0;
  for (const auto& [name, outcome] : result.outcomes)
    if (name.side == instance_role::generation)
      sum += outcome[field].get<std::uint64_t>();
  return sum;
}

double longest_of(const request_result& result, const char* field) {
  std::int64_t most = 0;
  for (const auto& [name, outcome] : result.outcomes)
    if (name.side == instance_role::generation)
      most = std::max(most, outcome[field].get<std::int64_t>());
  return static_cast<double>(most) / 1000.0;
}

ordered_json line_of(request_id request, rank_name name, const json& outcome) {
  ordered_json line{
      {"request", request.value}, {"side", to_string(name.side)}, {"rank", name.rank}};
  for (const char* field : {"state", "error", "bytes", "fragments", "templates", "sources",
                            "wait_us", "pull_us", "total_us", "attempts"})
    line[field] = outcome[field];
  if (outcome.contains("reclaim_us"))
    line["reclaim_us"] = outcome["reclaim_us"];
  return line;
}

ordered_json summary_of(const run_result& result) {
  return {{"summary", true},
          {"ok", result.ok()},
          {"requests", result.requests.size()},
          {"completed", result.completed()},
          {"failed", result.requests.size() - result.completed()},
          {"mismatched_bytes", result.wrong.mismatched},
          {"stray_bytes", result.wrong.stray},
          {"seconds", result.duration.count()},
          {"bytes", result.bytes()},
          {"warnings", result.warnings}};
}

} // namespace

std::size_t run_result::completed() const noexcept {
  return static_cast<std::size_t>(std::ranges::count(requests, true, &request_result::completed));
}

std::uint64_t run_result::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& request : requests)
    sum += sum_of(request, "bytes");
  return sum;
}

json missing_outcome(const std::string& why) {
  return {{"state", nullptr}, {"error", why}, {"bytes", 0},   {"fragments", 0},
          {"templates", 0},   {"wait_us", 0}, {"pull_us", 0}, {"sources", json::array()},
          {"total_us", 0},    {"attempts", 0}};
}

void print_table(const scenario& run, const run_result& result) {
  constexpr auto row = "{:>20} {:>8} {:>12} {:>9} {:>9} {:>9} {:>9}  {:<8} {:<26} {}\n";
  fmt::print("{}\n", run.name);
  fmt::print(row, "request", "tokens", "bytes", "fragments", "wait ms", "pull ms", "total ms",
             "lane", "generation", "context");
  for (std::size_t i = 0; i < result.requests.size(); ++i) {
    const auto& request = result.requests[i];
    const auto milliseconds = [&](const char* field) {
      return fmt::format("{:.2f}", longest_of(request, field));
    };
    fmt::print(row, run.requests[i].id, run.requests[i].tokens, sum_of(request, "bytes"),
               sum_of(request, "fragments"), milliseconds("wait_us"), milliseconds("pull_us"),
               milliseconds("total_us"), lanes_of(request),
               states_of(request, instance_role::generation),
               states_of(request, instance_role::context));
  }
  print_problems(stdout, result);
  fmt::print("{}: {} of {} requests completed, {} bytes in {:.3f} s, {} mismatched and {} stray "
             "bytes\n",
             result.ok() ? "ok" : "FAILED", result.completed(), result.requests.size(),
             result.bytes(), result.duration.count(), result.wrong.mismatched, result.wrong.stray);
}

void print_warnings(std::FILE* out, const run_result& result) {
  for (const auto& warning : result.warnings)
    fmt::print(out, "warning: {}\n", warning);
}

void print_problems(std::FILE* out, const run_result& result) {
  for (std::size_t i = 0; i < std::min(result.problems.size(), shown_problems); ++i)
    fmt::print(out, "problem: {}\n", result.problems[i]);
  if (result.problems.size() > shown_problems)
    fmt::print(out, "problem: and {} more\n", result.problems.size() - shown_problems);
}

void print_progress(std::size_t ended, std::size_t requests) {
  const auto full = requests == 0 ? bar_width : ended * bar_width / requests;
  fmt::print("\r[{:#<{}}{:.<{}}] {}/{}{}", "", full, "", bar_width - full, ended, requests,
             ended == requests ? "\n" : "");
  std::fflush(stdout);
}

expected<> write_json_lines(const std::filesystem::path& path, const scenario& run,
                            const run_result& result) {
  std::ofstream file{path, std::ios::trunc};
  const auto write = [&](const ordered_json& line) {
    file << line.dump(-1, ' ', false, json::error_handler_t::replace) << '\n';
  };
  for (std::size_t i = 0; i < result.requests.size(); ++i)
    for (const auto& [name, outcome] : result.requests[i].outcomes)
      write(line_of(run.requests[i].id, name, outcome));
  write(summary_of(result));
  file.close();
  if (!file)
    return fail(errc::out_of_resources, "{} cannot be written", path.string());
  return {};
}

} // namespace baton::handoff
