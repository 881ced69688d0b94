#pragma once

#include <filesystem>
#include <string>

namespace baton::test {

/// Finds a helper program or script: the one that lies beside the running program, as in a
/// collection for another machine, else the one of the build.
///
/// @param built  its path in the build.
[[nodiscard]] inline std::string find_program(const std::filesystem::path& built) {
  const auto beside =
      std::filesystem::read_symlink("/proc/self/exe").replace_filename(built.filename());
  return (std::filesystem::exists(beside) ? beside : built).string();
}

} // namespace baton::test
