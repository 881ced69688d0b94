#include "transport/rank_plane.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "gpu/device.hpp"
#include "messages/manifest.hpp"
#include "transport/base/copy_pool.hpp"
#include "transport/lane_selection.hpp"
#include "transport/lease/grant_book.hpp"
#include "transport/mapped/gpu_lane.hpp"
#include "transport/mapped/gpu_mapper.hpp"
#include "transport/mapped/mapped_lane.hpp"
#include "transport/peer/service_thread.hpp"
#include "transport/peer_registry.hpp"
#include "transport/plan/block_tables.hpp"
#include "transport/session/session_ledger.hpp"
#include "transport/ucx/context.hpp"
#include "transport/ucx/lane.hpp"
#include "transport/ucx/staging_choice.hpp"
#include "transport/ucx/version.hpp"

namespace baton {

namespace {

/// A data thread may well be kept from running for so long.
constexpr std::chrono::milliseconds least_stuck_after{100};

expected<> check_options(const plane_options& options) {
  if (options.chunk_bytes < manifest_limits::least_chunk ||
      options.chunk_bytes > manifest_limits::most_chunk)
    return fail(errc::invalid_argument, "chunk_bytes {} is not within {} and {}",
                options.chunk_bytes, manifest_limits::least_chunk, manifest_limits::most_chunk);
  if (options.ring_chunks == 0 || options.credits == 0)
    return fail(errc::invalid_argument, "ring_chunks and credits must not be 0");
  if (options.ucx_stuck_after < least_stuck_after)
    return fail(errc::invalid_argument, "ucx_stuck_after {} ms is less than {} ms",
                options.ucx_stuck_after.count(), least_stuck_after.count());
  if (options.gpu_blocks == 0 || options.gpu_blocks > 1024)
    return fail(errc::invalid_argument, "gpu_blocks {} is not within 1 and 1024",
                options.gpu_blocks);
  if (options.gpu_streams == 0 || options.gpu_streams > 16)
    return fail(errc::invalid_argument, "gpu_streams {} is not within 1 and 16",
                options.gpu_streams);
  return {};
}

/// The GPU of the pools, else the one that the options name.
copy_engine_options engine_of(const plane_options& options, const rank_layout& layout) {
  copy_engine_options out;
  out.device = options.gpu;
  for (const auto& pool : layout.pools)
    if (pool.kind == memory_kind::cuda)
      out.device = static_cast<int>(pool.device);
  out.thread_blocks = options.gpu_blocks;
  out.streams = options.gpu_streams;
  return out;
}

ucx_settings settings_of(const plane_options& options, bool gpu_pools) {
  ucx_settings settings;
  auto choice = choose_staging({options.ucx_transports, !options.tcp_devices.empty(), gpu_pools,
                                gpu_pools && ucx_moves_gpu_memory()});
  settings.transports = std::move(choice.transports);
  settings.staging = choice.staging;
  settings.tcp_devices = options.tcp_devices;
  settings.chunk_bytes = options.chunk_bytes;
  settings.ring_chunks = options.ring_chunks;
  settings.credits = options.credits;
  settings.stuck_after = options.ucx_stuck_after;
  return settings;
}

/// Plans a job. On the ucx lane only the owner knows, and checks, its own blocks.
expected<plan> plan_job(const planner& plans, const pull_job& job, lane_kind lane) {
  if (job.ranges.size() != job.source_blocks.size())
    return fail(errc::invalid_argument, "pull: {} ranges and {} source tables", job.ranges.size(),
                job.source_blocks.size());
  std::vector<plan_blocks> blocks;
  for (std::size_t i = 0; i < job.ranges.size(); ++i) {
    const auto& [group, tokens, tails, layers] = job.ranges[i];
    if (tokens.empty() || std::ranges::find(plans.groups(), group) == plans.groups().end())
      continue;
    const auto* destination = find_table(job.destination_blocks, group);
    if (destination == nullptr || job.source_blocks[i].group != group)
      return fail(errc::invalid_argument, "pull: group \"{}\" has no {} blocks", group,
                  destination == nullptr ? "destination" : "source");
    if (tails_of(*destination) != tails)
      return fail(errc::invalid_argument,
                  "pull: the beams of group \"{}\" are granted for other tails than they have",
                  group);
    if (lane == lane_kind::mapped)
      blocks.push_back({group, tokens, &job.source_blocks[i], destination, {}, {}, layers});
    else
      blocks.push_back(
          {group, tokens, nullptr, destination, tails_of(job.source_blocks[i]), {}, layers});
  }
  return plans.make(blocks);
}

} // namespace

std::vector<std::pair<std::string, std::string>> ucx_settings_of(const plane_options& options) {
  return context_settings(settings_of(options, false));
}

class rank_plane::impl {
public:
  impl(incarnation life, const rank_layout& layout, std::vector<memory_pool> pools,
       const plane_options& options, lease_table leases)
      : life_{life},
        layout_{layout},
        pools_{std::move(pools)},
        options_{options},
        kernel_pools_{engine_of(options, layout_).device, pools_},
        grants_{std::move(leases), layout},
        copies_{options.copy_threads},
        mapped_{copies_, ledger_, pool_starts()} {}

  ~impl() {
    grants_.close();
    if (service_)
      service_->stop();
    if (mapper_)
      mapper_->stop();
    if (gpu_)
      gpu_->stop();
    if (ucx_)
      ucx_->stop();
    copies_.stop();
    peers_.clear();
  }

  expected<> start() {
    const bool gpu_pools = has_gpu_pools(layout_.pools);
    if (auto started = start_gpu(gpu_pools); !started)
      return started;
    if (auto started = start_ucx(gpu_pools); !started)
      return started;
    auto server = export_server::open(life_, descriptors());
    if (!server)
      return fail(std::move(server.error()));
    if (auto described = describe(*server); !described)
      return described;
    auto service = service_thread::start(std::move(*server));
    if (!service)
      return fail(std::move(service.error()));
    service_ = std::move(*service);
    return {};
  }

  void introduce(peer_card card, std::function<void(expected<lane_choice>)> done) {
    auto manifest = decode_manifest(card.manifest);
    if (!manifest)
      return done(fail(std::move(manifest.error())));
    if (manifest->life != card.life)
      return done(fail(errc::invalid_argument, "the manifest of peer {} belongs to peer {}",
                       card.life, manifest->life));
    if (auto valid = fits(manifest->pools, card.layout.pools); !valid)
      return done(fail(std::move(valid.error())));
    const auto ticket = peers_.add(card, std::move(done));
    if (!ticket)
      return;
    introduction begun{card.life, *ticket, std::move(*manifest), card.layout.pools, card.serve};
    if (card.pull == nullptr)
      return settle(begun, lane_choice{lane_kind::ucx, "nothing to pull from it"});
    auto reason = why_not_mapped(self_, begun.manifest);
    if (!reason && by_gpu(begun))
      reason = why_no_gpu();
    if (reason)
      return settle(
          begun, choose_ucx(self_, begun.manifest, {errc::invalid_argument, std::move(*reason)}));
    service_->import(begun.manifest, begun.pools, [this, begun](service_thread::imported memory) {
      if (!memory)
        return settle_unmapped(begun, std::move(memory.error()));
      if (by_gpu(begun))
        return attach(begun, std::move(*memory));
      settle(begun, lane_choice{lane_kind::mapped, "same host"}, std::move(*memory));
    });
  }

  void forget(incarnation peer) {
    peers_.remove(peer, [&] {
      if (ucx_)
        ucx_->forget(peer);
    });
  }

  expected<lease> grant(session_key owner, grant_spec spec) {
    if (auto why = broken())
      return fail(std::move(*why));
    return grants_.grant(owner, std::move(spec));
  }

  void revoke(const lease& right) {
    if (const auto record = grants_.revoke(right))
      tell_revoked(*record);
  }

  void when(session_key owner, gpu_event_ref event, std::function<void(expected<>)> done) {
    if (auto why = broken())
      return done(fail(std::move(*why)));
    if (!event)
      return done({});
    if (gpu_)
      return gpu_->when(owner, event, std::move(done));
    const auto absent = is_complete(event);
    done(absent ? expected<>{} : expected<>{fail(absent.error())});
  }

  void pull(session_key owner, pull_job job, std::function<void(expected<pull_stats>)> done) {
    if (auto why = broken())
      return done(fail(std::move(*why)));
    pull_order order;
    order.started = std::chrono::steady_clock::now();
    const auto peer = peers_.find(job.source);
    if (!peer)
      return done(fail(errc::peer_lost, "peer {} is not, or no longer, introduced", job.source));
    if (peer->card.pull == nullptr || job.right.owner != job.source)
      return done(fail(errc::invalid_argument,
                       "pull: nothing of lease {} can be pulled from peer {}", job.right.slot,
                       job.source));
    auto what = plan_job(*peer->card.pull, job, peer->lane.lane);
    if (!what)
      return done(fail(std::move(what.error())));
    order.session = owner;
    order.right = job.right;
    order.ranges = std::move(job.ranges);
    order.what = std::move(*what);
    order.lane = peer->lane;
    order.done = std::move(done);
    order.after = job.after;
    if (peer->gpu || !job.after)
      return dispatch(std::move(order), *peer);
    // Copies by the host cannot wait in a queue of the GPU.
    when(owner, job.after,
         [this, peer, held = std::make_shared<pull_order>(std::move(order))](expected<> ready) {
           if (ready)
             dispatch(std::move(*held), *peer);
           else
             held->done(fail(std::move(ready.error())));
         });
  }

  void retire(session_key owner, std::function<void()> done) {
    for (const auto& record : grants_.retire(owner))
      tell_revoked(*record);
    for (const auto& job : ledger_.retire(owner, std::move(done)))
      job->abort();
  }

  [[nodiscard]] std::size_t granted() const noexcept { return grants_.table().granted(); }
  [[nodiscard]] std::optional<error> broken() const {
    auto why = watch_.failure();
    if (!why)
      why = copies_.failure();
    const auto ask = [&why](const auto& part) {
      if (part && !why)
        why = part->failure();
    };
    ask(service_);
    ask(ucx_);
    ask(gpu_);
    ask(mapper_);
    return why;
  }
  [[nodiscard]] const std::string& manifest() const noexcept { return manifest_; }
  [[nodiscard]] const memory_pool& pool(std::size_t index) const noexcept { return pools_[index]; }

private:
  /// An introduction under way.
  struct introduction {
    incarnation life;
    std::uint64_t ticket = 0;
    plane_manifest manifest;
    std::vector<pool_layout> pools;
    std::shared_ptr<const planner> serve;
  };

  /// The GPU itself is left alone until somebody needs it.
  expected<> start_gpu(bool gpu_pools) {
    if (!gpu_support())
      return {};
    auto lane = gpu_lane::create(ledger_, watch_);
    if (!lane)
      return fail(std::move(lane.error()));
    gpu_ = std::move(*lane);
    auto mapper = gpu_mapper::create(*gpu_, kernel_pools_, engine_of(options_, layout_));
    if (!mapper)
      return fail(std::move(mapper.error()));
    mapper_ = std::move(*mapper);
    return gpu_pools ? mapper_->open() : expected<>{};
  }

  expected<> start_ucx(bool gpu_pools) {
    if (options_.lanes == lane_policy::mapped)
      return {};
    auto settings = settings_of(options_, gpu_pools);
    self_.reaches_other_hosts = settings.transports.find("tcp") != std::string::npos;
    ucx_surroundings around{life_, grants_, ledger_, copies_, pool_starts()};
    if (gpu_pools) {
      auto pools = kernel_pools_.starts();
      if (!pools)
        return fail(std::move(pools.error()));
      around.gpu = ucx_gpu{engine_of(options_, layout_), std::move(*pools), &watch_};
    }
    auto lane = ucx_lane::create(settings, std::move(around));
    if (!lane)
      return fail(std::move(lane.error()));
    ucx_ = std::move(*lane);
    return {};
  }

  [[nodiscard]] std::vector<std::byte*> pool_starts() const {
    std::vector<std::byte*> starts;
    for (const auto& pool : pools_)
      starts.push_back(pool.data());
    return starts;
  }

  /// With a pool that cannot be shared there is nothing to export: peers map all or nothing.
  [[nodiscard]] std::vector<int> descriptors() const {
    std::vector<int> all{grants_.table().descriptor()};
    for (const auto& pool : pools_) {
      if (pool.share().kind == share_kind::none)
        return {};
      for (const int descriptor : pool.descriptors())
        all.push_back(descriptor);
    }
    return all;
  }

  expected<> describe(const export_server& server) {
    self_.policy = options_.lanes;
    self_.boot_id = read_boot_id();
    self_.user = geteuid();
    self_.network = read_network();
    self_.ucx_version = ucx_ ? baton::ucx_version() : "";
    plane_manifest manifest;
    manifest.life = life_;
    manifest.boot_id = self_.boot_id;
    manifest.socket = server.name();
    manifest.token = server.token();
    manifest.user = self_.user;
    manifest.network = self_.network;
    manifest.ucx_version = self_.ucx_version;
    manifest.ucx_address = ucx_ ? ucx_->address() : "";
    manifest.chunk_bytes = options_.chunk_bytes;
    for (const auto& pool : pools_)
      manifest.pools.push_back(pool.share());
    manifest_ = encode(manifest);
    // What peers would refuse: too many pools or pieces of them.
    if (auto valid = decode_manifest(manifest_); !valid)
      return fail(errc::invalid_argument,
                  "the pools cannot be described to peers, register fewer "
                  "and larger ones: {}",
                  valid.error().text);
    return {};
  }

  [[nodiscard]] bool by_gpu(const introduction& begun) const noexcept {
    return has_gpu_pools(layout_.pools) || has_gpu_pools(begun.pools);
  }

  /// Why a GPU peer's memory cannot be mapped, as far as this process alone decides it.
  [[nodiscard]] std::optional<std::string> why_no_gpu() const {
    if (!mapper_)
      return "the peer has GPU pools, and we were built without CUDA";
    if (gpu_count() == 0)
      return "the peer has GPU pools, and this process has no GPU";
    return std::nullopt;
  }

  void attach(const introduction& begun, std::shared_ptr<peer_memory> memory) {
    mapper_->attach(
        std::move(memory), begun.manifest.pools, begun.pools,
        [this, begun](gpu_mapper::attached gpu) {
          if (!gpu)
            return settle_unmapped(begun, watch_.judge(std::move(gpu.error())));
          settle(begun, lane_choice{lane_kind::mapped, (*gpu)->reason()}, (*gpu)->memory(), *gpu);
        });
  }

  void settle_unmapped(const introduction& begun, error why) {
    if (why.code == errc::cancelled || watch_.failure())
      settle(begun, fail(std::move(why)));
    else
      settle(begun, choose_ucx(self_, begun.manifest, std::move(why)));
  }

  void settle(const introduction& begun, const expected<lane_choice>& choice,
              std::shared_ptr<const peer_memory> memory = nullptr,
              std::shared_ptr<gpu_peer> gpu = nullptr) {
    const auto& manifest = begun.manifest;
    const auto ready = [&] {
      // Whatever lane we pull by, the peer may choose to pull from us over ucx.
      if (ucx_ && manifest.ucx_version == self_.ucx_version)
        ucx_->introduce({begun.life, manifest.ucx_address, manifest.chunk_bytes, begun.serve});
    };
    peers_.settle(begun.life, begun.ticket, choice, std::move(memory), ready, std::move(gpu));
  }

  void dispatch(pull_order order, const introduced_peer& peer) {
    if (peer.gpu)
      gpu_->pull(std::move(order), peer.gpu);
    else if (peer.lane.lane == lane_kind::mapped)
      mapped_.pull(std::move(order), peer.memory);
    else
      ucx_->pull(std::move(order));
  }

  void tell_revoked(const grant_record& record) {
    if (ucx_ && record.served.load(std::memory_order_seq_cst))
      ucx_->revoked(record.right);
  }

  const incarnation life_;
  const rank_layout layout_;
  const std::vector<memory_pool> pools_;
  const plane_options options_;
  kernel_pools kernel_pools_;
  lane_abilities self_;
  std::string manifest_;
  session_ledger ledger_;
  gpu_watch watch_;
  grant_book grants_;
  peer_registry peers_;
  copy_pool copies_;
  mapped_lane mapped_;
  std::unique_ptr<gpu_lane> gpu_; ///< null without CUDA, as is the mapper
  std::unique_ptr<gpu_mapper> mapper_;
  std::unique_ptr<ucx_lane> ucx_; ///< null under the policy `mapped`
  std::unique_ptr<service_thread> service_;
};

expected<std::shared_ptr<rank_plane>> rank_plane::create(incarnation life,
                                                         const rank_layout& layout,
                                                         std::vector<host_pool> pools,
                                                         plane_options options) {
  std::vector<memory_pool> all;
  for (auto& pool : pools)
    all.emplace_back(std::move(pool));
  return create(life, layout, std::move(all), std::move(options));
}

expected<std::shared_ptr<rank_plane>> rank_plane::create(incarnation life,
                                                         const rank_layout& layout,
                                                         std::vector<memory_pool> pools,
                                                         plane_options options) {
  if (auto valid = check_pools(layout, pools); !valid)
    return fail(std::move(valid.error()));
  if (auto valid = check_options(options); !valid)
    return fail(std::move(valid.error()));
  auto leases = lease_table::create(life, options.leases);
  if (!leases)
    return fail(std::move(leases.error()));
  auto state = std::make_unique<impl>(life, layout, std::move(pools), options, std::move(*leases));
  if (auto started = state->start(); !started)
    return fail(std::move(started.error()));
  return std::shared_ptr<rank_plane>{new rank_plane{std::move(state)}};
}

rank_plane::rank_plane(std::unique_ptr<impl> state) : impl_{std::move(state)} {
}
rank_plane::~rank_plane() = default;

const memory_pool& rank_plane::pool(std::size_t index) const noexcept {
  return impl_->pool(index);
}

std::string rank_plane::version() const {
  return ucx_version();
}

const std::string& rank_plane::manifest() const noexcept {
  return impl_->manifest();
}

void rank_plane::introduce(peer_card peer, std::function<void(expected<lane_choice>)> done) {
  impl_->introduce(std::move(peer), std::move(done));
}

void rank_plane::forget(incarnation peer) {
  impl_->forget(peer);
}

expected<lease> rank_plane::grant(session_key owner, grant_spec spec) {
  return impl_->grant(owner, std::move(spec));
}

void rank_plane::revoke(const lease& right) {
  impl_->revoke(right);
}

void rank_plane::when(session_key owner, gpu_event_ref event,
                      std::function<void(expected<>)> done) {
  impl_->when(owner, event, std::move(done));
}

void rank_plane::pull(session_key owner, pull_job job,
                      std::function<void(expected<pull_stats>)> done) {
  impl_->pull(owner, std::move(job), std::move(done));
}

void rank_plane::retire(session_key owner, std::function<void()> done) {
  impl_->retire(owner, std::move(done));
}

std::size_t rank_plane::granted() const noexcept {
  return impl_->granted();
}

std::optional<error> rank_plane::broken() const {
  return impl_->broken();
}

} // namespace baton
