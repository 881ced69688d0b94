#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <vector>

#include "examples/handoff/scenario.hpp"

namespace baton::handoff {

/// Holds the sessions of one rank at the points that the scenario's faults name. Each fault holds
/// once. Thread-safe.
class parking {
public:
  /// @param limit  after which a session goes on by itself.
  /// @param report called with the fault's position in the scenario when a session stops for it.
  parking(const std::vector<fault_spec>& faults, rank_name self, std::chrono::milliseconds limit,
          std::function<void(std::size_t)> report);

  /// Whether any fault names this rank.
  [[nodiscard]] bool used() const noexcept { return !places_.empty(); }
  /// The session's probe: returns at once, or when all faults for this point have been released.
  void pass(probe_point point, request_id request);
  void release(std::size_t fault);
  /// Lets everything pass from now on.
  void open();

private:
  struct place {
    std::size_t fault = 0;
    probe_point point = probe_point::introduced;
    request_id request;
    bool taken = false;
    bool released = false;
  };

  std::chrono::milliseconds limit_;
  std::function<void(std::size_t)> report_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<place> places_;
};

} // namespace baton::handoff
