#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace baton {

/// How much memory a process can still take before the kernel kills one for it.
struct memory_room {
  std::uint64_t bytes = UINT64_MAX; ///< UINT64_MAX: unknown
  std::string owner = "this host";  ///< "this host" or "the cgroup /name", whichever has the least
};

/// Measures the room of this process: what the host has available (without swap), or what a cgroup
/// above the process (v1 or v2) has left, pages of files that it can drop included.
///
/// @param root  where /proc and /sys are found; another one for tests.
[[nodiscard]] memory_room measure_memory_room(const std::filesystem::path& root = "/");

} // namespace baton
