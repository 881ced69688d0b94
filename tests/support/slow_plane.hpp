#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "transport/seam/data_plane.hpp"

namespace baton::test {

/// A data plane whose pulls each begin late, however many there are. Thread-safe, as all planes.
class slow_plane final : public data_plane {
public:
  slow_plane(std::shared_ptr<data_plane> real, std::chrono::milliseconds pause);

  [[nodiscard]] const std::string& manifest() const noexcept override { return real_->manifest(); }
  [[nodiscard]] std::string version() const override { return real_->version(); }
  void introduce(peer_card peer, std::function<void(expected<lane_choice>)> done) override {
    real_->introduce(std::move(peer), std::move(done));
  }
  void forget(incarnation peer) override { real_->forget(peer); }
  [[nodiscard]] expected<lease> grant(session_key owner, grant_spec spec) override {
    return real_->grant(owner, std::move(spec));
  }
  void revoke(const lease& right) override { real_->revoke(right); }
  void when(session_key owner, gpu_event_ref event, std::function<void(expected<>)> done) override {
    real_->when(owner, event, std::move(done));
  }
  void pull(session_key owner, pull_job job,
            std::function<void(expected<pull_stats>)> done) override;
  void retire(session_key owner, std::function<void()> done) override;
  [[nodiscard]] std::size_t granted() const noexcept override { return real_->granted(); }

private:
  struct held_pull {
    std::chrono::steady_clock::time_point due;
    session_key owner;
    pull_job job;
    std::function<void(expected<pull_stats>)> done;
  };

  void run(const std::stop_token& stop);

  std::shared_ptr<data_plane> real_;
  std::chrono::milliseconds pause_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::list<held_pull> held_; ///< guarded; in the order in which they are due
  std::jthread thread_;
};

} // namespace baton::test
