#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>

#include "transport/plan/plan_stream.hpp"
#include "transport/seam/data_plane.hpp"
#include "transport/session/session_ledger.hpp"

namespace baton {

/// What a lane needs to know of one pull.
struct pull_order {
  session_key session;
  lease right;
  std::vector<group_range> ranges;
  plan what;
  lane_choice lane;
  gpu_event_ref after;
  std::chrono::steady_clock::time_point started;
  std::function<void(expected<pull_stats>)> done;
};

/// One pull under way. It uses its session's destination blocks from `begin` until `finish`.
class pull_task : public abortable {
public:
  /// @param ledger must outlive the task.
  pull_task(pull_order order, session_ledger& ledger);

  /// Enters the session. If that retires, the pull ends at once, as cancelled.
  ///
  /// @param self this task.
  /// @returns whether the pull may go on.
  [[nodiscard]] bool begin(const std::shared_ptr<pull_task>& self);

  /// Tells the caller how it ended, and leaves the session. Call once after a successful `begin`,
  /// when no byte will be written any more.
  void finish(expected<> result);

  /// Ends a pull that never began.
  void refuse(error why);

  void abort() noexcept final;
  [[nodiscard]] bool aborted() const noexcept { return aborted_.load(std::memory_order_acquire); }

  [[nodiscard]] const lease& right() const noexcept { return order_.right; }
  [[nodiscard]] const std::vector<group_range>& ranges() const noexcept { return order_.ranges; }
  [[nodiscard]] const plan_stream& stream() const noexcept { return stream_; }
  /// Nothing may be written before it is complete. Only the GPU lane gets one.
  [[nodiscard]] gpu_event_ref after() const noexcept { return order_.after; }

protected:
  /// Tells the lane that the task was aborted. Any thread.
  virtual void wake() noexcept = 0;

private:
  [[nodiscard]] pull_stats stats() const;

  pull_order order_;
  plan_stream stream_;
  session_ledger& ledger_;
  std::atomic<bool> aborted_{false};
};

} // namespace baton
