#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/support/handoff_run.hpp"

namespace baton::test {

/// The line of a request and a rank, e.g. "context:1"; null if there is none.
[[nodiscard]] nlohmann::json line_of(const handoff_run& run, int request, const std::string& rank);

/// How a request ended on a rank: "complete", an error code, or "gone" for a rank that did not live
/// to tell.
[[nodiscard]] std::string ending_of(const nlohmann::json& line);

/// Checks how a request ended on a rank, and that this did not take longer than `limit_us`.
void check_ending(const handoff_run& run, int request, const std::string& rank,
                  std::initializer_list<std::string> accepted, std::int64_t limit_us);

/// Requires a run that ended as expected, with every byte right.
void require_good(const handoff_run& run);

[[nodiscard]] bool mentions(const handoff_run& run, const std::string& text);

} // namespace baton::test
