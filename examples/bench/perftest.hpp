#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "transport/rank_plane.hpp"

namespace baton::bench {

/// Returns the environment under which UCX alone runs as it does in a plane with these options,
/// e.g.
/// {"UCX_TLS", "tcp"}.
[[nodiscard]] std::vector<std::pair<std::string, std::string>>
perftest_environment(const plane_options& options);

inline constexpr std::size_t perftest_message = 1 << 20; ///< bytes

/// Runs `ucx_perftest -e -t ucp_am_bw`, its two processes on this host, with the settings of a
/// plane.
///
/// @param program of ucx_perftest.
/// @param messages of `perftest_message` bytes each.
/// @returns bytes per second.
/// @throws std::runtime_error with what it said, if it does not run.
[[nodiscard]] double run_perftest(const std::string& program, const plane_options& options,
                                  std::size_t messages);

} // namespace baton::bench
