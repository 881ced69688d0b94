#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "transport/fake_plane.hpp"

namespace baton::test {

/// Which call of a data plane is made.
enum class plane_call : std::uint8_t { grant, bearer_grant, revoke, when, pull };

/// A fake plane that may throw in each call of a session, fail what it pulls or grants, and break
/// down. Not thread-safe.
class troubled_plane final : public data_plane {
public:
  troubled_plane(fake_fabric& fabric, incarnation life) : fake_{fabric, life} {}

  /// Called ahead of each call; may throw.
  std::function<void(plane_call)> ahead = [](plane_call) {};
  /// Returns why a grant, or a pull that came to its end, fails.
  std::function<std::optional<error>(plane_call)> trouble = [](plane_call) { return std::nullopt; };
  /// Why it does not work any more.
  std::optional<error> breakdown;

  [[nodiscard]] fake_plane& fake() noexcept { return fake_; }

  [[nodiscard]] const std::string& manifest() const noexcept override { return fake_.manifest(); }
  [[nodiscard]] std::string version() const override { return fake_.version(); }
  void introduce(peer_card peer, std::function<void(expected<lane_choice>)> done) override {
    fake_.introduce(std::move(peer), std::move(done));
  }
  void forget(incarnation peer) override { fake_.forget(peer); }
  [[nodiscard]] expected<lease> grant(session_key owner, grant_spec spec) override {
    const auto call = spec.reader == incarnation{} ? plane_call::bearer_grant : plane_call::grant;
    ahead(call);
    if (auto why = trouble(call))
      return fail(std::move(*why));
    return fake_.grant(owner, std::move(spec));
  }
  void revoke(const lease& right) override {
    ahead(plane_call::revoke);
    fake_.revoke(right);
  }
  void when(session_key owner, gpu_event_ref event, std::function<void(expected<>)> done) override {
    ahead(plane_call::when);
    fake_.when(owner, event, std::move(done));
  }
  void pull(session_key owner, pull_job job,
            std::function<void(expected<pull_stats>)> done) override {
    ahead(plane_call::pull);
    fake_.pull(owner, std::move(job), [this, done = std::move(done)](expected<pull_stats> result) {
      if (auto why = trouble(plane_call::pull); why && result)
        result = fail(std::move(*why));
      done(std::move(result));
    });
  }
  void retire(session_key owner, std::function<void()> done) override {
    fake_.retire(owner, std::move(done));
  }
  [[nodiscard]] std::size_t granted() const noexcept override { return fake_.granted(); }
  [[nodiscard]] std::optional<error> broken() const override { return breakdown; }

private:
  fake_plane fake_;
};

} // namespace baton::test
