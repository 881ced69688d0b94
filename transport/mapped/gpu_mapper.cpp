#include "transport/mapped/gpu_mapper.hpp"

#include <atomic>
#include <utility>

#include "transport/base/data_thread.hpp"
#include "transport/base/failure_note.hpp"
#include "transport/base/guarded_calls.hpp"

namespace baton {

/// All but the calls from other threads belongs to its thread.
class gpu_mapper::impl final : public progress_source {
public:
  impl(gpu_lane& lane, kernel_pools& pools, const copy_engine_options& options)
      : lane_{lane}, pools_{pools}, options_{options} {}
  ~impl() override { stop(); }

  expected<> start() {
    auto thread = data_thread::start(*this);
    if (!thread)
      return fail(std::move(thread.error()));
    thread_ = std::move(*thread);
    return {};
  }

  void stop() {
    stopping_ = true;
    if (thread_ && !std::exchange(stopped_, true))
      thread_->stop();
  }

  expected<> open() {
    if (opened_)
      return {};
    auto engine = copy_engine::create(options_);
    if (!engine)
      return fail(std::move(engine.error()));
    lane_.install(std::move(*engine));
    opened_ = true;
    return {};
  }

  void attach(std::shared_ptr<peer_memory> memory, std::vector<pool_share> shares,
              std::vector<pool_layout> pools, std::function<void(attached)> done) {
    const auto work = [this, memory = std::move(memory), shares = std::move(shares),
                       pools = std::move(pools), done] {
      done(stopping_ ? attached{stopped()} : try_to_map(memory, shares, pools));
    };
    if (!thread_->post(work))
      done(stopped());
  }

  [[nodiscard]] std::optional<error> failure() const { return failure_.get(); }

  void failed(const std::string& what) noexcept override { failure_.set(error_of(what)); }

  bool progress() noexcept override { return false; }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }
  [[nodiscard]] bool arm() noexcept override { return true; }

private:
  static tl::unexpected<error> stopped() {
    return fail(errc::cancelled, "the rank is shutting down");
  }

  static error error_of(const std::string& what) {
    return {errc::transport_failed,
            fmt::format("the thread that maps for the GPU threw an exception: {}", what)};
  }

  attached try_to_map(const std::shared_ptr<peer_memory>& memory,
                      const std::vector<pool_share>& shares,
                      const std::vector<pool_layout>& pools) {
    attached made;
    if (const auto thrown = thrown_by([&] { made = map(memory, shares, pools); }))
      made = fail(error_of(*thrown));
    return made;
  }

  attached map(const std::shared_ptr<peer_memory>& memory, const std::vector<pool_share>& shares,
               const std::vector<pool_layout>& pools) {
    if (auto ready = open(); !ready)
      return fail(std::move(ready.error()));
    auto ours = pools_.starts();
    if (!ours)
      return fail(std::move(ours.error()));
    auto made = gpu_peer::map(options_.device, memory, shares, pools, std::move(*ours));
    if (!made)
      return fail(std::move(made.error()));
    const auto let_go = [this](gpu_peer* old) {
      if (!thread_->post([old] { delete old; }))
        delete old;
    };
    return std::shared_ptr<gpu_peer>{made->release(), let_go};
  }

  gpu_lane& lane_;
  kernel_pools& pools_;
  const copy_engine_options options_;
  bool opened_ = false;
  std::atomic<bool> stopping_{false};
  bool stopped_ = false;
  failure_note failure_;
  std::unique_ptr<data_thread> thread_;
};

expected<std::unique_ptr<gpu_mapper>> gpu_mapper::create(gpu_lane& lane, kernel_pools& pools,
                                                         const copy_engine_options& options) {
  auto state = std::make_unique<impl>(lane, pools, options);
  if (auto started = state->start(); !started)
    return fail(std::move(started.error()));
  return std::unique_ptr<gpu_mapper>{new gpu_mapper{std::move(state)}};
}

gpu_mapper::gpu_mapper(std::unique_ptr<impl> state) : impl_{std::move(state)} {
}
gpu_mapper::~gpu_mapper() = default;

expected<> gpu_mapper::open() {
  return impl_->open();
}

void gpu_mapper::attach(std::shared_ptr<peer_memory> memory, std::vector<pool_share> shares,
                        std::vector<pool_layout> pools, std::function<void(attached)> done) {
  impl_->attach(std::move(memory), std::move(shares), std::move(pools), std::move(done));
}

std::optional<error> gpu_mapper::failure() const {
  return impl_->failure();
}

void gpu_mapper::stop() {
  impl_->stop();
}

} // namespace baton
