#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "examples/bench/gpu_cache.hpp"
#include "transport/rank_plane.hpp"

namespace baton::bench {

/// What some pulls at once came to.
struct pulled {
  double us = 0; ///< from the first call to the last completion, as the caller sees them
  std::uint64_t bytes = 0;
  std::uint64_t fragments = 0;
};

/// The pulls of all requests of a generation rank, to be done again and again.
class gpu_pulls {
public:
  /// @param rights of the requests, in order.
  gpu_pulls(rank_plane& plane, const gpu_cache& cache, std::vector<lease> rights);

  /// Pulls all requests at once, and waits without giving up the core.
  ///
  /// @throws std::runtime_error if a pull fails.
  [[nodiscard]] pulled run() const;

private:
  [[nodiscard]] pull_job job_of(std::size_t request) const;

  rank_plane& plane_;
  const gpu_cache& cache_;
  std::vector<lease> rights_;
  std::vector<std::vector<group_blocks>> source_tables_;
};

/// Pulls without a pause on a thread of its own, from its construction to `stop`.
class pull_loop {
public:
  explicit pull_loop(gpu_pulls pulls);
  ~pull_loop() { over_ = true; }
  pull_loop(const pull_loop&) = delete;
  pull_loop& operator=(const pull_loop&) = delete;

  /// Ends it after the pull under way. @returns what it came to.
  [[nodiscard]] pulled stop();

private:
  void run();

  gpu_pulls pulls_;
  pulled sum_;
  std::string problem_;
  std::atomic<bool> over_{false};
  std::jthread thread_;
};

} // namespace baton::bench
