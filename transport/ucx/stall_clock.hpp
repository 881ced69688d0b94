#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace baton {

/// Measures for how long something that is waited for has not moved, by looking at it now and then.
/// Time is passed in.
class stall_clock {
public:
  using time_point = std::chrono::steady_clock::time_point;
  using duration = std::chrono::steady_clock::duration;

  /// Between two looks no more than this is counted: it was not the other's fault that nobody
  /// looked.
  static constexpr std::chrono::milliseconds most_counted{200};

  /// @param waited whether anything is waited for.
  /// @param moves  how many it has made, ever.
  /// @returns for how long it was waited for without a move.
  duration look(time_point now, bool waited, std::uint64_t moves) noexcept {
    const bool stalled = waited && waited_ && moves == moves_;
    stalled_ = stalled ? stalled_ + std::min<duration>(now - looked_, most_counted) : duration{};
    looked_ = now;
    waited_ = waited;
    moves_ = moves;
    return stalled_;
  }

private:
  time_point looked_{};
  duration stalled_{};
  std::uint64_t moves_ = 0;
  bool waited_ = false;
};

} // namespace baton
