#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "examples/bench/statistics.hpp"
#include "messages/error.hpp"

namespace baton::bench {

/// What a figure shall be.
struct target {
  enum class bound { at_least, at_most };
  bound kind = bound::at_least;
  double limit = 0;

  [[nodiscard]] bool met_by(double value) const noexcept {
    return kind == bound::at_least ? value >= limit : value <= limit;
  }
};

[[nodiscard]] inline target at_least(double limit) {
  return {target::bound::at_least, limit};
}
[[nodiscard]] inline target at_most(double limit) {
  return {target::bound::at_most, limit};
}

/// One line of the report. The median counts against the target, if there is one.
struct figure {
  std::string what;
  std::string unit;
  summary values;
  std::optional<target> wanted;
};

/// A point of the plot of GB/s over fragment size.
struct plot_point {
  std::string curve;
  bool reference = false;     ///< what baton is compared with
  std::uint64_t fragment = 0; ///< bytes
  double gigabytes = 0;       ///< per second
};

/// What a case found out.
struct findings {
  std::vector<figure> figures{};
  std::vector<std::string> notes{};    ///< e.g. how something was set up
  std::vector<std::string> problems{}; ///< what could not be measured, and why
  std::vector<plot_point> points{};
};

void print_head();
void print(const std::string& name, const findings& found);

/// Appends a JSON object per figure to a text.
void add_json_lines(std::string& text, const std::string& name, const findings& found);

} // namespace baton::bench
