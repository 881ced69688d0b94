#pragma once

#include <cstddef>
#include <string>

#include "transport/rank_plane.hpp"

namespace baton::bench {

/// How much to measure, and with what.
struct settings {
  std::size_t runs = 10; ///< after one run of warm-up
  bool quick = false;    ///< small sizes, whose figures mean nothing: only to see that all works
  /// What all ranks have in common; lanes and devices are a matter of the case.
  plane_options plane{};
  std::size_t gpu_chunk_bytes = 8u << 20; ///< of the ucx lane between GPUs of one host
  std::string perftest = UCX_PERFTEST;    ///< path of ucx_perftest

  /// Returns the first in earnest, the second if it has to be quick.
  template <class T>
  [[nodiscard]] T sized(T full, T small) const {
    return quick ? small : full;
  }
};

} // namespace baton::bench
