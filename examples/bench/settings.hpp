#pragma once

#include <cstddef>
#include <string>

namespace baton::bench {

/// How much to measure, and with what.
struct settings {
  std::size_t runs = 10; ///< after one run of warm-up
  bool quick = false;    ///< small sizes, whose figures mean nothing: only to see that all works
  std::size_t copy_threads = 2;
  std::string perftest = UCX_PERFTEST; ///< path of ucx_perftest

  /// Returns the first in earnest, the second if it has to be quick.
  template <class T>
  [[nodiscard]] T sized(T full, T small) const {
    return quick ? small : full;
  }
};

} // namespace baton::bench
