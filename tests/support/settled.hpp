#pragma once

#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "tests/support/simulation.hpp"

namespace baton::test {

inline std::string joined(const std::vector<std::string>& lines) {
  std::string all;
  for (const auto& line : lines)
    all += line + "\n";
  return all;
}

/// Checks that all requests end within the limit, and that nothing is wrong then.
inline void require_clean(simulation& world,
                          std::chrono::milliseconds longest = std::chrono::milliseconds{3'000}) {
  const auto complaints = world.settle(longest);
  BOOST_TEST(complaints.empty(), joined(complaints));
}

} // namespace baton::test
