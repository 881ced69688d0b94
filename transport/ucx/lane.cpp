#include "transport/ucx/lane.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "gpu/device.hpp"
#include "transport/base/data_thread.hpp"
#include "transport/base/failure_note.hpp"
#include "transport/base/guarded_calls.hpp"
#include "transport/ucx/gpu_mover.hpp"
#include "transport/ucx/host_mover.hpp"
#include "transport/ucx/owner.hpp"
#include "transport/ucx/reader.hpp"

namespace baton {

namespace {

/// How long a shutdown waits for UCX to let go of buffers.
constexpr std::chrono::milliseconds settle_limit{500};

/// More than UCX and we put before a chunk.
constexpr std::size_t segment_heads = 4096;

/// How often a shutdown looks whether the last chunks have been moved, and for how long: only a GPU
/// that hangs takes so long.
constexpr std::chrono::microseconds look_again{50};
constexpr std::chrono::seconds move_limit{10};

/// Pairs of slots of chunks under way.
constexpr std::uint32_t gpu_ring_pairs = 128u << 10;

/// A pull of this lane; an abort of it is brought to the data thread.
class ucx_pull final : public pull_task, public std::enable_shared_from_this<ucx_pull> {
public:
  using canceller = std::function<void(std::shared_ptr<pull_task>)>;

  ucx_pull(pull_order order, session_ledger& ledger, const canceller& cancel)
      : pull_task{std::move(order), ledger}, cancel_{cancel} {}

private:
  void wake() noexcept override { cancel_(shared_from_this()); }

  const canceller& cancel_;
};

/// Null: the host moves.
expected<std::unique_ptr<chunk_mover>> make_mover(const std::optional<ucx_gpu>& gpu) {
  if (!gpu)
    return nullptr;
  auto options = gpu->engine;
  options.ring_pairs = gpu_ring_pairs;
  auto engine = copy_engine::create(options);
  if (!engine)
    return fail(std::move(engine.error()));
  return std::make_unique<gpu_mover>(std::move(*engine), gpu->pools, *gpu->watch);
}

/// Over tcp an endpoint made ahead would open a connection; and peers there are not looked for in
/// /proc.
ucx_connecting connecting_over(const std::string& transports) {
  return transports.find("tcp") == std::string::npos ? ucx_connecting::ahead
                                                     : ucx_connecting::on_demand;
}

} // namespace

std::vector<std::pair<std::string, std::string>> context_settings(const ucx_settings& wanted) {
  const auto segment = std::to_string(wanted.chunk_bytes + segment_heads);
  ucx_context::settings all{
      {"TLS", wanted.transports},
      // Without it shared memory does not work with peer error handling.
      {"POSIX_ERROR_HANDLING", "y"},
      // Without it peer error handling rules out rendezvous over cma.
      {"CMA_MEMORY_INVALIDATE", "y"},
      // How soon a dead peer is noticed over shared memory.
      {"KEEPALIVE_INTERVAL", "1s"},
      // So that a chunk is one segment, and is scattered straight out of the one received.
      {"TCP_TX_SEG_SIZE", segment},
      {"TCP_RX_SEG_SIZE", segment},
  };
  if (!wanted.tcp_devices.empty())
    all.emplace_back("NET_DEVICES", wanted.tcp_devices);
  // Else UCX asks for NVLinks in a way that fails on healthy machines, and goes through the host.
  if (wanted.staging == staging_kind::gpu)
    all.emplace_back("CUDA_IPC_ENABLE_GET_ZCOPY", "on");
  return all;
}

/// All but the calls from other threads belongs to the data thread.
class ucx_lane::impl final : public progress_source, public ucx_sink {
public:
  impl(ucx_context context, staging_ring sending, staging_ring receiving,
       std::unique_ptr<chunk_mover> by_gpu, const ucx_settings& settings,
       const ucx_surroundings& around)
      : context_{std::move(context)},
        send_ring_{std::move(sending)},
        receive_ring_{std::move(receiving)},
        worker_{context_, *this, memory_of(settings)},
        peers_{around.life, worker_, connecting_over(settings.transports), settings.stuck_after,
               [this](const std::shared_ptr<ucx_peer>& peer, const error& why) {
                 reader_.lost(peer, mover_->explain(why));
                 owner_.lost(peer);
               }},
        mover_{by_gpu ? std::move(by_gpu) : by_host(around)},
        reader_{around.life,   worker_, peers_,
                receive_ring_, *mover_, {settings.chunk_bytes, settings.credits}},
        owner_{around.life, around.grants, around.ledger,       peers_,
               send_ring_,  *mover_,       settings.chunk_bytes},
        ledger_{around.ledger},
        device_{device_of(settings, around)} {}

  ~impl() override { stop(); }

  expected<> start() {
    if (auto opened = worker_.open(lane_messages); !opened)
      return opened;
    auto address = worker_.address();
    if (!address)
      return fail(std::move(address.error()));
    address_ = std::move(*address);
    auto thread = data_thread::start(*this);
    if (!thread)
      return fail(std::move(thread.error()));
    thread_ = std::move(*thread);
    if (device_)
      thread_->post([this] {
        // At a stop, what was posted may run on another thread.
        if (!stopped_)
          enter_for_good(*device_);
      });
    return {};
  }

  void stop() {
    if (!thread_ || stopped_.exchange(true))
      return;
    std::optional<gpu_scope> scope;
    if (device_)
      scope.emplace(*device_);
    thread_->stop();
    reader_.end_all({errc::cancelled, "the rank is shutting down"});
    owner_.end_all({errc::peer_lost, "the owner is shutting down"});
    const auto limit = std::chrono::steady_clock::now() + move_limit;
    run_to_end([&] { finish_moves(limit); });
    run_to_end([this] { reader_.deliver(); });
    if (is_abandoned())
      return;
    peers_.leave_all();
    settle(ucx_peers::last_words);
    peers_.close();
    settle(settle_limit);
    // What a dead or stopped peer still holds up is completed in here, while its owners are alive.
    worker_.close();
  }

  [[nodiscard]] const std::string& address() const noexcept { return address_; }

  void introduce(ucx_peer_card peer) {
    thread_->post([this, peer = std::move(peer)] { peers_.add(peer); });
  }

  void forget(incarnation peer) {
    thread_->post([this, peer] {
      if (!is_abandoned())
        peers_.forget(peer);
    });
  }

  void pull(pull_order order) {
    order.done = explained(std::move(order.done));
    auto task = std::make_shared<ucx_pull>(std::move(order), ledger_, cancel_);
    if (!task->begin(task))
      return;
    if (task->stream().bytes() == 0)
      return task->finish({});
    if (!thread_->post([this, task] { begin(task); }))
      task->finish(fail(errc::cancelled, "the rank is shutting down"));
  }

  void revoked(const lease& right) {
    thread_->post([this, right] { owner_.revoked(right); });
  }

  [[nodiscard]] std::optional<error> failure() const { return failure_.get(); }

  /// UCX goes on, so that peers hear of it and the chunks under way come to their ends.
  void failed(const std::string& what) noexcept override {
    const error why{errc::transport_failed,
                    fmt::format("the data thread of the ucx lane threw an exception: {}", what)};
    failure_.set(why);
    reader_.end_all(why);
    owner_.refuse_all({errc::peer_lost, "the data thread of the owner failed"});
  }

  bool progress() override {
    // What came in the round before: whoever was granted something was introduced before, and that
    // has been posted by now.
    bool any = owner_.read_mail();
    any |= worker_.progress();
    any |= !is_abandoned() && peers_.end_broken();
    any |= owner_.serve();
    any |= mover_->progress();
    any |= look_for_breakdown();
    any |= reader_.feed();
    if (!is_abandoned())
      peers_.watch(std::chrono::steady_clock::now());
    any |= reader_.deliver();
    return any;
  }

  [[nodiscard]] int descriptor() const noexcept override { return worker_.descriptor(); }
  [[nodiscard]] bool arm() noexcept override { return !is_abandoned() && worker_.arm(); }
  [[nodiscard]] std::optional<std::chrono::microseconds>
  nap(std::chrono::microseconds idle) const noexcept override {
    const auto moving = mover_->nap(idle);
    if (!peers_.is_watching())
      return moving;
    return std::min<std::chrono::microseconds>(moving.value_or(ucx_peers::look_again),
                                               ucx_peers::look_again);
  }

  void received(const ucx_message& message) noexcept override {
    switch (static_cast<lane_message>(message.id)) {
    case lane_message::pull:
      return owner_.pull(message);
    case lane_message::chunk:
      return reader_.chunk(message);
    case lane_message::credit:
      return owner_.credit(message);
    case lane_message::end:
      return reader_.end(message);
    case lane_message::abort:
      return owner_.abort(message);
    case lane_message::bye:
      return peers_.left(message);
    }
  }

  /// Whether UCX keeps its endpoints, also after a stop: on a GPU that works no more, 1.22.0 ends
  /// the process when an interface loses its last one. Belongs to the data thread while that runs.
  [[nodiscard]] bool is_abandoned() const noexcept { return broke_down_ && device_; }

private:
  [[nodiscard]] std::function<void(expected<pull_stats>)>
  explained(std::function<void(expected<pull_stats>)> done) {
    return [this, done = std::move(done)](expected<pull_stats> result) {
      if (!result)
        result = fail(mover_->explain(std::move(result.error())));
      done(std::move(result));
    };
  }

  [[nodiscard]] std::optional<error> refusal() const {
    auto why = failure_.get();
    return why ? why : mover_->failure();
  }

  /// @returns whether it found that nothing can be moved any more.
  bool look_for_breakdown() {
    if (broke_down_)
      return false;
    const auto why = mover_->failure();
    if (!why)
      return false;
    broke_down_ = true;
    reader_.end_all(*why);
    owner_.refuse_all(*why);
    return true;
  }

  void begin(const std::shared_ptr<pull_task>& task) {
    if (auto why = refusal())
      return task->finish(fail(std::move(*why)));
    try {
      reader_.start(task);
    } catch (const std::exception& err) {
      if (!reader_.cancel(*task))
        task->finish(fail(errc::transport_failed, "the pull could not begin: {}", err.what()));
      throw;
    }
  }

  static ucs_memory_type_t memory_of(const ucx_settings& settings) noexcept {
    return settings.staging == staging_kind::gpu ? UCS_MEMORY_TYPE_CUDA : UCS_MEMORY_TYPE_HOST;
  }

  /// The GPU whose memory UCX handles, if any.
  static std::optional<int> device_of(const ucx_settings& settings,
                                      const ucx_surroundings& around) noexcept {
    if (settings.staging != staging_kind::gpu)
      return std::nullopt;
    return around.gpu->engine.device;
  }

  /// UCX wants a current CUDA context wherever it makes progress.
  static void enter_for_good(int device) {
    thread_local std::optional<gpu_scope> current;
    current.emplace(device);
  }

  std::unique_ptr<chunk_mover> by_host(const ucx_surroundings& around) {
    return std::make_unique<host_mover>(around.copies, around.pools,
                                        [this] { thread_->post([] {}); });
  }

  void finish_moves(std::chrono::steady_clock::time_point limit) {
    while (mover_->open() > 0 && std::chrono::steady_clock::now() < limit)
      if (!mover_->progress())
        std::this_thread::sleep_for(look_again);
    if (mover_->open() == 0)
      return;
    send_ring_.leak();
    receive_ring_.leak();
    mover_->abandon({errc::gpu_failed, "a kernel did not end"});
  }

  /// Makes progress until UCX uses no buffer any more, at most for `limit`: a stopped peer never
  /// answers.
  void settle(std::chrono::milliseconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (worker_.outstanding() > 0 && std::chrono::steady_clock::now() < end)
      worker_.progress();
  }

  ucx_context context_;
  staging_ring send_ring_;
  staging_ring receive_ring_;
  ucx_worker worker_;
  ucx_peers peers_;
  std::unique_ptr<chunk_mover> mover_;
  ucx_reader reader_;
  ucx_owner owner_;
  session_ledger& ledger_;
  const std::optional<int> device_;
  std::string address_;
  std::unique_ptr<data_thread> thread_;
  std::atomic<bool> stopped_{false};
  bool broke_down_ = false; ///< the mover did, and all has been told
  failure_note failure_;
  const ucx_pull::canceller cancel_ = [this](std::shared_ptr<pull_task> task) {
    thread_->post([this, task = std::move(task)] { reader_.cancel(*task); });
  };
};

expected<std::unique_ptr<ucx_lane>> ucx_lane::create(const ucx_settings& settings,
                                                     ucx_surroundings surroundings) {
  const auto& gpu = surroundings.gpu;
  const int device = gpu ? gpu->engine.device : 0;
  std::optional<gpu_scope> scope;
  if (settings.staging == staging_kind::gpu)
    scope.emplace(device);
  auto context = ucx_context::create(context_settings(settings));
  if (!context)
    return fail(std::move(context.error()));
  const auto ring = [&] {
    return staging_ring::create(settings.ring_chunks, settings.chunk_bytes, settings.staging,
                                device);
  };
  auto sending = ring();
  if (!sending)
    return fail(std::move(sending.error()));
  auto receiving = ring();
  if (!receiving)
    return fail(std::move(receiving.error()));
  auto mover = make_mover(gpu);
  if (!mover)
    return fail(std::move(mover.error()));
  auto state =
      std::make_unique<impl>(std::move(*context), std::move(*sending), std::move(*receiving),
                             std::move(*mover), settings, surroundings);
  if (auto started = state->start(); !started)
    return fail(std::move(started.error()));
  return std::unique_ptr<ucx_lane>{new ucx_lane{std::move(state)}};
}

ucx_lane::ucx_lane(std::unique_ptr<impl> state) : impl_{std::move(state)} {
}

ucx_lane::~ucx_lane() {
  impl_->stop();
  if (impl_->is_abandoned())
    static_cast<void>(impl_.release());
}

void ucx_lane::stop() {
  impl_->stop();
}

const std::string& ucx_lane::address() const noexcept {
  return impl_->address();
}

void ucx_lane::introduce(ucx_peer_card peer) {
  impl_->introduce(std::move(peer));
}

void ucx_lane::forget(incarnation peer) {
  impl_->forget(peer);
}

void ucx_lane::pull(pull_order order) {
  impl_->pull(std::move(order));
}

void ucx_lane::revoked(const lease& right) {
  impl_->revoked(right);
}

std::optional<error> ucx_lane::failure() const {
  return impl_->failure();
}

} // namespace baton
