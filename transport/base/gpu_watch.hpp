#pragma once

#include <atomic>
#include <functional>
#include <optional>

#include "gpu/device.hpp"
#include "messages/error.hpp"
#include "transport/base/failure_note.hpp"

namespace baton {

/// Tells the failure of one job from the end of a rank's GPU. After some errors (an illegal
/// address, a failed launch) nothing works in a CUDA context any more, not even what has nothing to
/// do with the work that failed, and only a new process helps. After others (no memory, a bad
/// argument, an event of another GPU) that job has failed and nothing else. Which of both it is,
/// the GPU is asked. Thread-safe.
class gpu_watch {
public:
  /// Does something small on a GPU that has nothing to do with any job.
  using probe = std::function<expected<>(int device)>;

  explicit gpu_watch(probe look = look_at_gpu) : look_{std::move(look)} {}

  /// Names the GPU to watch, an ordinal, once it has worked: before, no error is taken for its end.
  void begin(int device) noexcept { device_ = device; }

  /// Looks at the GPU, if a job's error may be a sign of its end.
  ///
  /// @returns what the job is to report: the error, or that the GPU works no more.
  [[nodiscard]] error judge(error why);

  /// Notes the end of the GPU, where there is no doubt about it.
  ///
  /// @returns what jobs are to report.
  error lost(const error& why);

  /// That the GPU works no more, and what was seen first of it.
  [[nodiscard]] std::optional<error> failure() const { return note_.get(); }

private:
  const probe look_;
  std::atomic<int> device_{-1};
  failure_note note_;
};

} // namespace baton
