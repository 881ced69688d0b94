#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "transport/rank_plane.hpp"

namespace baton::bench {

/// Where `ucx_perftest` has its messages.
enum class perftest_memory : std::uint8_t { host, cuda };

/// Returns the environment under which UCX alone runs as it does in a plane with these options,
/// e.g. {"UCX_TLS", "tcp"}. For memory of GPUs it also gets the transports that it cannot do
/// without: cuda_copy, and cuda_ipc unless it shall go over tcp alone.
[[nodiscard]] std::vector<std::pair<std::string, std::string>>
perftest_environment(const plane_options& options, perftest_memory memory = perftest_memory::host);

inline constexpr std::size_t perftest_message = 1 << 20; ///< bytes

struct perftest_messages {
  std::size_t bytes = perftest_message; ///< each
  perftest_memory memory = perftest_memory::host;
};

/// Runs `ucx_perftest -e -t ucp_am_bw`, its two processes on cores 0 and 1 of this host, with the
/// settings of a plane.
///
/// @param program of ucx_perftest.
/// @param messages how many.
/// @returns bytes per second.
/// @throws std::runtime_error with what it said, if it does not run.
[[nodiscard]] double run_perftest(const std::string& program, const plane_options& options,
                                  std::size_t messages, const perftest_messages& kind = {});

} // namespace baton::bench
