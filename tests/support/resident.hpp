#pragma once

#include <cstddef>
#include <fstream>

#include <unistd.h>

namespace baton::test {

/// Resident memory of this process, in bytes.
inline std::size_t resident() {
  std::ifstream file{"/proc/self/statm"};
  std::size_t all = 0;
  std::size_t here = 0;
  file >> all >> here;
  return here * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

} // namespace baton::test
