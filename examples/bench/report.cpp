#include "examples/bench/report.hpp"

#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace baton::bench {

namespace {

std::string sign_of(const target& wanted) {
  return wanted.kind == target::bound::at_least ? ">=" : "<=";
}

/// The unit, and the target with the verdict.
std::string tail_of(const figure& line) {
  if (!line.wanted)
    return line.unit;
  return fmt::format("{:<7} {} {:g} {}", line.unit, sign_of(*line.wanted), line.wanted->limit,
                     line.wanted->met_by(line.values.median) ? "met" : "MISSED");
}

} // namespace

void print_head() {
  fmt::print("{:<12} {:<42} {:>9} {:>9} {:>9} {:>5}  {:<7} {}\n", "case", "figure", "min", "median",
             "max", "n", "unit", "target");
}

void print(const std::string& name, const findings& found) {
  for (const auto& line : found.figures)
    fmt::print("{:<12} {:<42} {:>9.4g} {:>9.4g} {:>9.4g} {:>5}  {}\n", name, line.what,
               line.values.min, line.values.median, line.values.max, line.values.count,
               tail_of(line));
  for (const auto& note : found.notes)
    fmt::print("{:<12} {}\n", name, note);
  for (const auto& problem : found.problems)
    fmt::print("{:<12} FAILED: {}\n", name, problem);
  std::fflush(stdout);
}

void add_json_lines(std::string& text, const std::string& name, const findings& found) {
  for (const auto& line : found.figures) {
    nlohmann::json out{{"case", name},
                       {"figure", line.what},
                       {"unit", line.unit},
                       {"min", line.values.min},
                       {"median", line.values.median},
                       {"max", line.values.max},
                       {"samples", line.values.count},
                       {"notes", found.notes}};
    if (line.wanted) {
      out["target"] = fmt::format("{} {:g}", sign_of(*line.wanted), line.wanted->limit);
      out["met"] = line.wanted->met_by(line.values.median);
    }
    text += out.dump() + '\n';
  }
  for (const auto& problem : found.problems)
    text += nlohmann::json{{"case", name}, {"problem", problem}}.dump() + '\n';
}

} // namespace baton::bench
