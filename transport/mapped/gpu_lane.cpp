#include "transport/mapped/gpu_lane.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "transport/base/data_thread.hpp"
#include "transport/base/failure_note.hpp"
#include "transport/base/guarded_calls.hpp"
#include "transport/session/event_waits.hpp"

namespace baton {

namespace {

using std::chrono::microseconds;

/// For kernels that were told to stop at a shutdown.
constexpr std::chrono::seconds close_limit{10};

const error shutting_down{errc::cancelled, "the rank is shutting down"};

class gpu_pull final : public pull_task, public std::enable_shared_from_this<gpu_pull> {
public:
  using canceller = std::function<void(std::shared_ptr<gpu_pull>)>;

  gpu_pull(pull_order order, session_ledger& ledger, std::shared_ptr<gpu_peer> source,
           const canceller& cancel)
      : pull_task{std::move(order), ledger}, source_{std::move(source)}, cancel_{cancel} {}

  [[nodiscard]] gpu_peer& source() const noexcept { return *source_; }

  /// Whether all that was read was granted, and there, while it was read.
  [[nodiscard]] expected<> validate() const {
    const auto& leases = source_->memory()->leases();
    if (!leases.granted(right()))
      return fail(errc::lease_revoked, "the owner took the blocks back while they were read");
    if (source_->owner_must_live() && !leases.owner_alive())
      return fail(errc::peer_lost, "the owner died while its CUDA IPC memory was read");
    return {};
  }

  /// Ends it. No kernel uses the peer's memory for it any more.
  void end(expected<> result) {
    source_.reset();
    finish(std::move(result));
  }

  std::optional<copy_ticket> ticket; ///< touched by the data thread only

private:
  void wake() noexcept override { cancel_(shared_from_this()); }

  std::shared_ptr<gpu_peer> source_;
  const canceller& cancel_;
};

} // namespace

/// All but the calls from other threads belongs to the data thread.
class gpu_lane::impl final : public progress_source {
public:
  impl(session_ledger& ledger, gpu_watch& watch) : ledger_{ledger}, watch_{watch} {}
  ~impl() override { stop(); }

  expected<> start() {
    auto thread = data_thread::start(*this);
    if (!thread)
      return fail(std::move(thread.error()));
    thread_ = std::move(*thread);
    // By default the kernel rounds short sleeps up by 50 us.
    thread_->post([] { prctl(PR_SET_TIMERSLACK, 1'000); });
    return {};
  }

  void stop() {
    if (!thread_ || std::exchange(stopped_, true))
      return;
    thread_->stop();
    run_to_end([this] { waits_.cancel_all(shutting_down); });
    const auto limit = std::chrono::steady_clock::now() + close_limit;
    run_to_end([&] { end_flights(limit); });
    engine_.reset();
  }

  void install(copy_engine engine) {
    watch_.begin(engine.options().device);
    thread_->post([this, held = std::make_shared<copy_engine>(std::move(engine))] {
      engine_.emplace(std::move(*held));
    });
  }

  void pull(pull_order order, std::shared_ptr<gpu_peer> source) {
    if (auto why = refusal())
      return order.done(fail(std::move(*why)));
    order.done = watched(std::move(order.done));
    auto task =
        std::make_shared<gpu_pull>(std::move(order), ledger_, std::move(source), cancel_pull_);
    if (!task->begin(task))
      return;
    if (task->stream().bytes() == 0)
      return task->end({});
    if (!thread_->post([this, task] { begin(task); }))
      task->end(fail(shutting_down));
  }

  void when(session_key owner, gpu_event_ref event, std::function<void(expected<>)> done) {
    if (auto why = refusal())
      return done(fail(std::move(*why)));
    auto wait =
        std::make_shared<event_wait>(owner, event, watched(std::move(done)), ledger_, cancel_wait_);
    if (!wait->begin())
      return;
    const auto complete = is_complete(event);
    if (!complete)
      return wait->finish(fail(complete.error()));
    if (*complete)
      return wait->finish({});
    if (!thread_->post([this, wait] { waits_.add(wait); }))
      wait->finish(fail(shutting_down));
  }

  [[nodiscard]] std::optional<error> failure() const { return failure_.get(); }

  void failed(const std::string& what) noexcept override {
    const error why{errc::transport_failed,
                    fmt::format("the data thread of the GPU threw an exception: {}", what)};
    failure_.set(why);
    for (const auto& [ticket, task] : flights_)
      engine_->abort(ticket);
  }

  bool progress() override {
    if (const auto why = refusal())
      waits_.cancel_all(*why);
    bool any = waits_.look();
    if (engine_)
      for (const auto& report : engine_->poll())
        reports_.push_back(report);
    // Whatever a callback throws, the reports after it stay.
    for (; !reports_.empty(); any = true) {
      const auto report = std::move(reports_.front());
      reports_.pop_front();
      land(report);
    }
    return any;
  }

  [[nodiscard]] int descriptor() const noexcept override { return -1; }
  [[nodiscard]] bool arm() noexcept override { return true; }

  /// Nothing wakes a host thread when a kernel ends. The longer it takes, the less a late look
  /// matters.
  [[nodiscard]] std::optional<microseconds> nap(microseconds idle) const noexcept override {
    if (!flights_.empty())
      return std::clamp(idle / 128, microseconds{10}, microseconds{50});
    if (!waits_.empty())
      return std::clamp(idle / 32, microseconds{10}, microseconds{200});
    return std::nullopt;
  }

private:
  template <class Result>
  std::function<void(expected<Result>)> watched(std::function<void(expected<Result>)> done) {
    return [this, done = std::move(done)](expected<Result> result) {
      if (!result && result.error().code == errc::gpu_failed)
        result = fail(watch_.judge(std::move(result.error())));
      done(std::move(result));
    };
  }

  [[nodiscard]] std::optional<error> refusal() const {
    auto why = failure_.get();
    return why ? why : watch_.failure();
  }

  void begin(const std::shared_ptr<gpu_pull>& task) {
    if (auto why = refusal())
      return task->end(fail(std::move(*why)));
    if (task->aborted())
      return task->end(fail(errc::cancelled, "the pull was cancelled"));
    // What was taken back already is not worth a kernel.
    if (auto valid = task->validate(); !valid)
      return task->end(std::move(valid));
    expected<copy_ticket> ticket;
    if (const auto thrown = thrown_by([&] { ticket = launch(task); })) {
      failed(*thrown);
      return begin(task);
    }
    if (!ticket)
      return task->end(fail(ticket.error()));
    task->ticket = *ticket;
    flights_.emplace(*ticket, task);
  }

  expected<copy_ticket> launch(const std::shared_ptr<gpu_pull>& task) {
    auto plan = task->source().shapes().plan_for(*engine_, task->stream().what(), task);
    if (!plan)
      return fail(std::move(plan.error()));
    copy_order order;
    order.plan = std::move(*plan);
    order.end = order.plan->bytes();
    order.after = task->after();
    return engine_->launch(std::move(order));
  }

  void land(const copy_report& report) {
    const auto task = flights_.extract(report.ticket).mapped();
    switch (report.end) {
    case copy_end::whole:
      return task->end(task->validate());
    case copy_end::aborted:
      return task->end(fail(errc::cancelled, "the pull was cancelled"));
    case copy_end::failed:
      if (const auto why = engine_->broken())
        watch_.lost(*why);
      return task->end(fail(report.problem.value_or(error{errc::gpu_failed, "a kernel failed"})));
    }
  }

  void end_flights(std::chrono::steady_clock::time_point limit) {
    for (const auto& [ticket, task] : flights_)
      engine_->abort(ticket);
    while (!flights_.empty() && std::chrono::steady_clock::now() < limit)
      if (!progress())
        std::this_thread::sleep_for(microseconds{50});
    // A kernel that hangs: its task keeps what it uses.
    while (!flights_.empty())
      flights_.extract(flights_.begin())
          .mapped()
          ->finish(fail(errc::gpu_failed, "a kernel that was told to stop did not end"));
  }

  session_ledger& ledger_;
  gpu_watch& watch_;
  event_waits waits_;
  std::optional<copy_engine> engine_;
  std::unordered_map<copy_ticket, std::shared_ptr<gpu_pull>> flights_;
  std::deque<copy_report> reports_; ///< of flights that have not landed
  std::unique_ptr<data_thread> thread_;
  bool stopped_ = false;
  failure_note failure_;
  const gpu_pull::canceller cancel_pull_ = [this](std::shared_ptr<gpu_pull> task) {
    thread_->post([this, task = std::move(task)] {
      if (task->ticket)
        engine_->abort(*task->ticket);
    });
  };
  const event_wait::canceller cancel_wait_ = [this](std::shared_ptr<event_wait> wait) {
    thread_->post([this, wait = std::move(wait)] { waits_.cancel(*wait); });
  };
};

expected<std::unique_ptr<gpu_lane>> gpu_lane::create(session_ledger& ledger, gpu_watch& watch) {
  auto state = std::make_unique<impl>(ledger, watch);
  if (auto started = state->start(); !started)
    return fail(std::move(started.error()));
  return std::unique_ptr<gpu_lane>{new gpu_lane{std::move(state)}};
}

gpu_lane::gpu_lane(std::unique_ptr<impl> state) : impl_{std::move(state)} {
}
gpu_lane::~gpu_lane() = default;

void gpu_lane::stop() {
  impl_->stop();
}

void gpu_lane::install(copy_engine engine) {
  impl_->install(std::move(engine));
}

void gpu_lane::pull(pull_order order, std::shared_ptr<gpu_peer> source) {
  impl_->pull(std::move(order), std::move(source));
}

void gpu_lane::when(session_key owner, gpu_event_ref event, std::function<void(expected<>)> done) {
  impl_->when(owner, event, std::move(done));
}

std::optional<error> gpu_lane::failure() const {
  return impl_->failure();
}

} // namespace baton
