#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/handoff_run.hpp"

namespace baton::test {

/// How one instance is sharded.
struct side_shape {
  int tp = 1;
  int pp = 1;
  bool dp = false; ///< attention data parallelism
};

struct topology {
  side_shape context;
  side_shape generation;
  bool mla = false;

  friend std::ostream& operator<<(std::ostream& out, const topology& shape);
};

/// The pairs of shapes that every kind of memory and every lane must carry.
[[nodiscard]] const std::vector<topology>& topologies();

/// A scenario of four requests between two instances in host memory.
[[nodiscard]] nlohmann::json scenario_of(const topology& shape, const std::string& workflow,
                                         const std::string& lane);

/// Checks that a run of such a scenario brought every byte.
void check_all_arrived(const handoff_run& run);

} // namespace baton::test
