#pragma once

#include <cstddef>
#include <string>

#include <nlohmann/json.hpp>

namespace baton::handoff {

/// What a process holds of the system.
struct footprint {
  std::size_t descriptors = 0;
  std::size_t threads = 0;
  std::size_t mappings = 0; ///< of memory that processes share

  friend bool operator==(const footprint&, const footprint&) = default;
};

/// Of this process, without the one timer that its UCX worker may have made.
///
/// @param own_threads  that do not count.
[[nodiscard]] footprint measure_footprint(std::size_t own_threads = 0);

/// How much of it is more than before, all kinds together.
[[nodiscard]] std::size_t excess(const footprint& now, const footprint& before) noexcept;
[[nodiscard]] std::string to_string(const footprint& one);

/// What this process has open, by kind, e.g. "1 tcp 4711 to 5000 established, 3 pipe".
[[nodiscard]] std::string describe_descriptors();

void to_json(nlohmann::json& out, const footprint& one);
void from_json(const nlohmann::json& in, footprint& one);

} // namespace baton::handoff
