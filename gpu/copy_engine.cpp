#include "gpu/copy_engine.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>
#include <tuple>

#include "gpu/cuda/context.hpp"
#include "gpu/cuda/convert_kernel.hpp"
#include "gpu/cuda/copy_kernel.hpp"
#include "gpu/cuda/driver.hpp"
#include "gpu/cuda/launcher.hpp"
#include "gpu/cuda/make_shape.hpp"
#include "gpu/cuda/tuning.hpp"
#include "gpu/device.hpp"

namespace baton {
namespace {

constexpr std::chrono::seconds patience{10}; // for kernels that were told to stop

expected<> check_options(const copy_engine_options& options) {
  const auto outside = [](std::uint32_t value, std::uint32_t least, std::uint32_t most) {
    return value < least || value > most;
  };
  if (outside(options.thread_blocks, 1, 1024))
    return fail(errc::invalid_argument, "thread_blocks is {}; choose 1 to 1024",
                options.thread_blocks);
  if (outside(options.streams, 1, 16))
    return fail(errc::invalid_argument, "streams is {}; choose 1 to 16", options.streams);
  if (outside(options.ring_pairs, 2, 1u << 24))
    return fail(errc::invalid_argument, "ring_pairs is {}; choose 2 to {}", options.ring_pairs,
                1u << 24);
  return {};
}

expected<std::uint32_t> least_for_bulk(copy_path path, const gpu_device& device) {
  int shared = 0;
  if (auto asked = check(
          cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device.ordinal),
          "cudaDeviceGetAttribute");
      !asked)
    return fail(asked.error());
  const bool able = device.compute_major >= 9 && shared >= bulk_shared_bytes();
  if (path == copy_path::bulk && !able)
    return fail(errc::invalid_argument,
                "path is bulk, but {} has compute capability {}.{} and {} bytes of shared memory a "
                "block; it needs 9.0 and {}",
                device.name, device.compute_major, device.compute_minor, shared,
                bulk_shared_bytes());
  if (path == copy_path::load_store || !able)
    return no_bulk;
  return path == copy_path::bulk ? 1 : tuning::bulk_least_bytes;
}

} // namespace

class copy_engine::impl {
public:
  explicit impl(const copy_engine_options& options) : options_{options} {}
  ~impl();

  [[nodiscard]] expected<> open();
  [[nodiscard]] expected<std::shared_ptr<const copy_shape>>
  make_shape(copy_way way, std::span<const copy_run> runs, std::span<const copy_lane> lanes);
  [[nodiscard]] expected<copy_ticket> launch(copy_order order);
  void abort(copy_ticket ticket) noexcept;
  [[nodiscard]] std::span<const copy_report> poll();
  [[nodiscard]] std::size_t open_jobs() const noexcept { return jobs_.size(); }
  [[nodiscard]] const std::optional<error>& broken() const noexcept { return broken_; }
  [[nodiscard]] const copy_engine_options& options() const noexcept { return options_; }

private:
  struct job {
    copy_order order;
    std::uint64_t sent = 0;      ///< stream bytes up to here have been launched
    launcher* stream = nullptr;  ///< of the first piece, hence of all
    std::uint32_t in_flight = 0; ///< pieces on the GPU
    bool aborted = false;
    std::optional<error> problem;

    [[nodiscard]] bool stopped() const { return aborted || problem || sent == order.end; }
  };

  [[nodiscard]] expected<> check_order(const copy_order& order) const;
  void collect();
  void start_all();
  void start(std::uint64_t number, job& what);
  [[nodiscard]] launcher& idlest();
  void break_down(const error& reason);
  [[nodiscard]] bool wait_for_kernels();

  copy_engine_options options_;
  CUcontext context_ = nullptr;
  gpu_stream uploads_;
  shape_maker maker_;
  std::optional<abort_board> aborts_;
  std::vector<launcher> streams_;
  std::map<std::uint64_t, job> jobs_; ///< by ticket, so in order
  std::vector<copy_report> reports_;
  std::optional<error> broken_; ///< CUDA failed for good
  std::uint64_t last_ticket_ = 0;
};

expected<> copy_engine::impl::open() {
  if (auto good = check_options(options_); !good)
    return good;
  const auto device = describe_gpu(options_.device);
  if (!device)
    return fail(device.error());
  const auto least = least_for_bulk(options_.path, *device);
  if (!least)
    return fail(least.error());
  const auto context = primary_context(options_.device);
  if (!context)
    return fail(context.error());
  context_ = *context;
  const context_scope scope{context_};
  const auto prepared = prepare_copy_kernels(*least != no_bulk);
  if (auto ready = check(prepared == cudaSuccess ? prepare_convert_kernels() : prepared,
                         fmt::format("loading the copy kernels for {} (compute capability {}.{})",
                                     device->name, device->compute_major, device->compute_minor));
      !ready)
    return ready;
  auto uploads = gpu_stream::create(options_.device);
  if (!uploads)
    return fail(uploads.error());
  uploads_ = std::move(*uploads);
  maker_ = {this, std::make_shared<shape_arena>(options_.device),
            static_cast<cudaStream_t>(uploads_.ref().handle), *least};
  // The first slab now, not within the first job.
  if (auto slab = maker_.arena->take(1); !slab)
    return fail(slab.error());
  auto aborts =
      abort_board::create(options_.device, options_.streams * tuning::launches_per_stream);
  if (!aborts)
    return fail(aborts.error());
  aborts_ = std::move(*aborts);
  for (std::uint32_t i = 0; i < options_.streams; ++i) {
    auto stream = launcher::create(options_, *aborts_, i * tuning::launches_per_stream);
    if (!stream)
      return fail(stream.error());
    streams_.push_back(std::move(*stream));
  }
  return {};
}

expected<std::shared_ptr<const copy_shape>>
copy_engine::impl::make_shape(copy_way way, std::span<const copy_run> runs,
                              std::span<const copy_lane> lanes) {
  const context_scope scope{context_};
  return baton::make_shape(maker_, way, runs, lanes);
}

expected<> copy_engine::impl::check_order(const copy_order& order) const {
  if (!order.plan || order.plan->parts().empty())
    return fail(errc::invalid_argument, "the copy order has no plan, or one without parts");
  if (order.begin >= order.end || order.end > order.plan->bytes())
    return fail(errc::invalid_argument,
                "the window [{}, {}) is empty or leaves the plan's {} bytes", order.begin,
                order.end, order.plan->bytes());
  const copy_way way = order.plan->parts().front().shape->way();
  for (const copy_part& part : order.plan->parts())
    if (part.shape->inner().engine != this || part.shape->way() != way)
      return fail(errc::invalid_argument,
                  "a shape of the plan is of another engine or another way");
  if (way != copy_way::pool_to_pool && order.buffer == nullptr)
    return fail(errc::invalid_argument, "a gather or scatter needs a buffer");
  return {};
}

expected<copy_ticket> copy_engine::impl::launch(copy_order order) {
  if (broken_)
    return fail(*broken_);
  if (auto good = check_order(order); !good)
    return fail(good.error());
  const std::uint64_t number = ++last_ticket_;
  job& made = jobs_[number];
  made.sent = order.begin;
  made.order = std::move(order);
  const context_scope scope{context_};
  start(number, made);
  return copy_ticket{number};
}

void copy_engine::impl::abort(copy_ticket ticket) noexcept {
  const auto found = jobs_.find(static_cast<std::uint64_t>(ticket));
  if (found == jobs_.end())
    return;
  job& what = found->second;
  if (std::exchange(what.aborted, true) || what.stream == nullptr)
    return;
  const context_scope scope{context_};
  what.stream->abort(found->first);
}

std::span<const copy_report> copy_engine::impl::poll() {
  reports_.clear();
  if (jobs_.empty())
    return reports_;
  const context_scope scope{context_};
  if (!broken_)
    collect();
  start_all();
  for (auto at = jobs_.begin(); at != jobs_.end();) {
    job& what = at->second;
    if (what.in_flight != 0 || !what.stopped()) {
      ++at;
      continue;
    }
    const copy_end end = what.problem   ? copy_end::failed
                         : what.aborted ? copy_end::aborted
                                        : copy_end::whole;
    reports_.push_back({copy_ticket{at->first}, end, std::move(what.problem)});
    at = jobs_.erase(at);
  }
  return reports_;
}

void copy_engine::impl::collect() {
  for (launcher& stream : streams_) {
    for (;;) {
      const auto ended = stream.take_ended();
      if (!ended)
        return break_down(ended.error());
      if (!*ended)
        break;
      --jobs_.at(**ended).in_flight;
    }
  }
}

void copy_engine::impl::start_all() {
  for (auto& [number, what] : jobs_)
    if (!what.stopped())
      start(number, what);
}

void copy_engine::impl::start(std::uint64_t number, job& what) {
  const auto may = is_complete(what.order.after);
  if (!may)
    what.problem = may.error();
  if (!may || !*may)
    return;
  launcher& stream = what.stream != nullptr ? *what.stream : idlest();
  while (!what.stopped()) {
    const std::size_t before = stream.in_flight();
    const auto left = stream.launch(what.order, what.sent, number);
    if (stream.in_flight() != before)
      what.stream = &stream;
    what.in_flight += static_cast<std::uint32_t>(stream.in_flight() - before);
    if (!left) {
      what.problem = left.error();
      return;
    }
    if (*left == what.sent)
      return;
    what.sent = *left;
  }
}

launcher& copy_engine::impl::idlest() {
  return *std::ranges::min_element(streams_, {}, [](const launcher& stream) {
    return std::pair{stream.in_flight() == tuning::launches_per_stream, stream.bytes_ahead_of(0)};
  });
}

// An error of an event, captures aside, is one of the whole context: no kernel runs in it any more.
void copy_engine::impl::break_down(const error& reason) {
  broken_ = reason;
  for (auto& [number, what] : jobs_) {
    what.in_flight = 0;
    if (!what.problem)
      what.problem = reason;
  }
}

bool copy_engine::impl::wait_for_kernels() {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (auto& [number, what] : jobs_)
    abort(copy_ticket{number});
  while (!jobs_.empty()) {
    static_cast<void>(poll());
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    std::this_thread::sleep_for(std::chrono::microseconds{50});
  }
  return true;
}

copy_engine::impl::~impl() {
  if (wait_for_kernels())
    return;
  // A kernel hangs: all that it may use is given up. The plans hold the shapes.
  static_cast<void>(new auto{
      std::tuple{std::move(maker_), std::move(aborts_), std::move(streams_), std::move(jobs_)}});
}

// -- the public face
// --------------------------------------------------------------------------------

copy_engine::copy_engine(std::unique_ptr<impl> inner) noexcept : impl_{std::move(inner)} {
}
copy_engine::copy_engine(copy_engine&&) noexcept = default;
copy_engine& copy_engine::operator=(copy_engine&&) noexcept = default;
copy_engine::~copy_engine() = default;

expected<copy_engine> copy_engine::create(const copy_engine_options& options) {
  auto inner = std::make_unique<impl>(options);
  if (auto done = inner->open(); !done)
    return fail(done.error());
  return copy_engine{std::move(inner)};
}

expected<std::shared_ptr<const copy_shape>>
copy_engine::make_shape(copy_way way, std::span<const copy_run> runs,
                        std::span<const copy_lane> lanes) {
  return impl_->make_shape(way, runs, lanes);
}

expected<copy_ticket> copy_engine::launch(copy_order order) {
  return impl_->launch(std::move(order));
}

void copy_engine::abort(copy_ticket ticket) noexcept {
  impl_->abort(ticket);
}

std::span<const copy_report> copy_engine::poll() {
  return impl_->poll();
}

std::optional<error> copy_engine::broken() const {
  return impl_->broken();
}

std::size_t copy_engine::open() const noexcept {
  return impl_->open_jobs();
}

const copy_engine_options& copy_engine::options() const noexcept {
  return impl_->options();
}

} // namespace baton
