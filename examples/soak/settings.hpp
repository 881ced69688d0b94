#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace baton::soak {

/// How a soak is run.
struct settings {
  std::uint64_t seed = 0; ///< of everything that is drawn
  /// Of the whole run. It takes a little longer: a round that has begun is brought to its end.
  std::chrono::milliseconds duration{30'000};
  std::size_t concurrency = 24; ///< requests in flight
  /// How long after its deadline a request may end.
  std::chrono::milliseconds margin{1'000};
  /// Context ranks rewrite blocks that are still offered, as an engine with a bug would. The soak
  /// must find that out.
  bool reuse_early = false;
  bool stop_early = false; ///< end at the first problem
  std::string json;        ///< file for the figures; empty: none
};

} // namespace baton::soak
