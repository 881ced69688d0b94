#include "transport/base/memory_room.hpp"

#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <optional>
#include <sstream>
#include <string_view>

#include <fmt/format.h>

namespace baton {

namespace {

namespace fs = std::filesystem;

/// The names of one version of the memory controller.
struct controller {
  const char* mount;
  const char* limit;
  const char* usage;
  const char* inactive_files; ///< in memory.stat
  const char* active_files;
};

constexpr controller first_version{"sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                   "memory.usage_in_bytes", "total_inactive_file",
                                   "total_active_file"};
constexpr controller second_version{"sys/fs/cgroup", "memory.max", "memory.current",
                                    "inactive_file", "active_file"};

/// Nothing for a missing file, and for "max".
std::optional<std::uint64_t> read_number(const fs::path& path) {
  std::ifstream file{path};
  std::uint64_t number = 0;
  return file >> number ? std::optional{number} : std::nullopt;
}

/// The number behind a word at the start of a line.
std::optional<std::uint64_t> read_entry(const fs::path& path, std::string_view key) {
  std::ifstream file{path};
  for (std::string line; std::getline(file, line);) {
    std::istringstream words{line};
    std::string word;
    std::uint64_t number = 0;
    if (words >> word >> number && word == key)
      return number;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> left_in(const fs::path& group, const controller& names) {
  const auto limit = read_number(group / names.limit);
  const auto usage = read_number(group / names.usage);
  if (!limit || !usage)
    return std::nullopt;
  std::uint64_t used = *usage;
  for (const char* files : {names.inactive_files, names.active_files})
    used -= std::min(used, read_entry(group / "memory.stat", files).value_or(0));
  return *limit - std::min(used, *limit);
}

/// Takes the least of a cgroup and all above it. One that is not visible from here, as in a
/// container, does not count; its mount point does.
void look_above(memory_room& least, const fs::path& root, fs::path name, const controller& names) {
  for (name = ("/" / name.relative_path()).lexically_normal();; name = name.parent_path()) {
    const auto left = left_in(root / names.mount / name.relative_path(), names);
    if (left && *left < least.bytes)
      least = {*left, fmt::format("the cgroup {}", name.string())};
    if (name == name.parent_path())
      return;
  }
}

} // namespace

memory_room measure_memory_room(const fs::path& root) {
  memory_room least;
  if (const auto available = read_entry(root / "proc/meminfo", "MemAvailable:"))
    least.bytes = *available * 1024;
  std::ifstream groups{root / "proc/self/cgroup"};
  for (std::string line; std::getline(groups, line);) {
    std::istringstream parts{line};
    std::string number;
    std::string controllers;
    std::string name;
    std::getline(parts, number, ':');
    std::getline(parts, controllers, ':');
    std::getline(parts, name);
    if (controllers.empty())
      look_above(least, root, name, second_version);
    else if (fmt::format(",{},", controllers).find(",memory,") != std::string::npos)
      look_above(least, root, name, first_version);
  }
  return least;
}

} // namespace baton
