#include "actors/transceiver.hpp"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>
#include <thread>
#include <utility>

#include <caf/all.hpp>
#include <caf/io/all.hpp>

#include "actors/caf_error.hpp"
#include "actors/door.hpp"
#include "actors/tls.hpp"
#include "actors/transceiver_actor.hpp"

namespace baton {
namespace {

// A local actor answers within microseconds; this only bounds a machine that is badly overloaded.
constexpr std::chrono::seconds local_answer{10};

// Pause between two looks of a shutdown at what is still in flight.
constexpr std::chrono::milliseconds look_again{1};

// Longer ones are refused; they must not overflow on the way.
std::chrono::milliseconds bounded(std::chrono::milliseconds timeout) {
  return std::clamp(timeout, std::chrono::milliseconds{0},
                    std::chrono::milliseconds{wire_limits::remaining});
}

} // namespace

class transceiver::impl {
public:
  impl(caf::actor_system& host, rank_context_ptr shared) : system{host}, rank{std::move(shared)} {}

  ~impl() { shutdown(std::chrono::milliseconds{0}); }

  expected<> publish() {
    actor = system.spawn(transceiver_shell, rank);
    if (rank->layout.rank == 0)
      listing = system.spawn(directory, rank->layout, rank->options);
    entrance = system.spawn(door, rank, actor, listing);
    const auto& host = rank->endpoint.host;
    auto port = publish_door(entrance, host, rank->endpoint.port);
    if (!port) {
      end_actors();
      return fail(errc::invalid_argument, "the control endpoint {}:{} cannot be bound: {}", host,
                  rank->endpoint.port, system.render(port.error()));
    }
    bound_port = *port;
    endpoint = fmt::format("{}:{}", host, *port);
    rank->local_door = [mine = endpoint, address = entrance.address()](
                           const std::string& wanted) -> std::optional<door_actor> {
      if (wanted != mine)
        return std::nullopt;
      return caf::actor_cast<door_actor>(address);
    };
    caf::anon_send(actor, atom::start_v, endpoint);
    return {};
  }

  /// Asks the actor and waits, at most for `limit`.
  template <class Result, class Limit, class... Args>
  expected<Result> ask(Limit limit, Args&&... args) {
    expected<Result> answer = fail(errc::shutting_down, "this rank has shut down");
    if (down.load(std::memory_order_acquire))
      return answer;
    caf::scoped_actor self{system};
    const auto failed = [&](caf::error& err) { answer = fail(from_caf(err, "transceiver")); };
    auto handle = self->request(actor, limit, std::forward<Args>(args)...);
    if constexpr (std::is_void_v<Result>)
      handle.receive([&] { answer = {}; }, failed);
    else
      handle.receive([&](Result& result) { answer = std::move(result); }, failed);
    return answer;
  }

  void shutdown(std::chrono::milliseconds drain) {
    const std::lock_guard lock{ending};
    if (down.load(std::memory_order_acquire) || !actor)
      return;
    static_cast<void>(ask<void>(local_answer, atom::refuse_v));
    if (drain.count() > 0)
      wait_until_idle(bounded(drain), false);
    static_cast<void>(ask<void>(local_answer, atom::end_all_v));
    wait_until_idle(rank->options.clean_up, true);
    down.store(true, std::memory_order_release);
    end_actors();
  }

  /// @param withdrawn  whether offers of blocks are on their way out too.
  void wait_until_idle(std::chrono::milliseconds limit, bool withdrawn) {
    const auto until = std::chrono::steady_clock::now() + limit;
    for (;;) {
      const auto counts = ask<statistics>(local_answer, atom::stats_v);
      if (!counts || std::chrono::steady_clock::now() >= until ||
          counts->live_sends + counts->live_receives + counts->block_pulls +
                  (withdrawn ? counts->block_offers : 0) ==
              counts->prepared)
        break;
      std::this_thread::sleep_for(look_again);
    }
    keep_unfetched();
  }

  /// The actor will not be there to be asked for it.
  void keep_unfetched() {
    auto ended = ask<std::vector<outcome>>(local_answer, atom::unfetched_v);
    if (!ended)
      return;
    const std::lock_guard lock{late_mutex};
    late.insert(late.end(), std::make_move_iterator(ended->begin()),
                std::make_move_iterator(ended->end()));
  }

  /// Returns what ended during the shutdown.
  std::vector<outcome> take_late(instance_role side) {
    const std::lock_guard lock{late_mutex};
    return side == rank->layout.role ? std::exchange(late, {}) : std::vector<outcome>{};
  }

  void end_actors() {
    if (bound_port != 0)
      system.middleman().unpublish(entrance, bound_port); // also of a door with TLS
    caf::scoped_actor self{system};
    self->monitor(actor);
    caf::anon_send(actor, atom::stop_v);
    caf::anon_send_exit(entrance, caf::exit_reason::user_shutdown);
    if (listing)
      caf::anon_send_exit(listing, caf::exit_reason::user_shutdown);
    self->receive([](const caf::down_msg&) {}, caf::after(local_answer) >> [] {});
  }

  caf::actor_system& system;
  rank_context_ptr rank;
  transceiver_actor actor;
  directory_actor listing;
  door_actor entrance;
  std::uint16_t bound_port = 0;
  std::string endpoint;
  std::mutex ending; ///< held by `shutdown`
  std::mutex late_mutex;
  std::vector<outcome> late; ///< ended during the shutdown, and nobody has fetched it
  std::atomic<bool> down{false};
};

transceiver::transceiver(std::unique_ptr<impl> state) : impl_{std::move(state)} {
}
transceiver::transceiver(transceiver&&) noexcept = default;
transceiver& transceiver::operator=(transceiver&&) noexcept = default;
transceiver::~transceiver() = default;

expected<transceiver> transceiver::start(caf::actor_system& system, rank_layout layout,
                                         std::shared_ptr<data_plane> plane, rank_endpoint endpoint,
                                         transceiver_options options) {
  if (auto ok = validate(layout); !ok)
    return fail(ok.error());
  if (auto ok = validate(options); !ok)
    return fail(ok.error());
  if (auto ok = check_tls(system); !ok)
    return fail(ok.error());
  if (auto ok = validate(endpoint, has_tls(system)); !ok)
    return fail(ok.error());
  if (!plane)
    return fail(errc::invalid_argument, "plane is null; make one with rank_plane::create");
  if (!system.has_middleman())
    return fail(errc::invalid_argument,
                "the actor system has no network module; make its config with "
                "baton::configure");
  if (layout.rank == 0 && !endpoint.directory.empty())
    return fail(errc::invalid_argument,
                "endpoint.directory is set on rank 0, which hosts the directory itself");
  if (layout.rank != 0 && endpoint.directory.empty())
    return fail(errc::invalid_argument, "endpoint.directory is empty; give it rank 0's endpoint");
  auto rank = std::make_shared<rank_context>();
  rank->layout = std::move(layout);
  rank->plane = std::move(plane);
  rank->endpoint = std::move(endpoint);
  rank->options = std::move(options);
  auto state = std::make_unique<impl>(system, std::move(rank));
  if (auto ok = state->publish(); !ok) {
    state->down = true;
    return fail(ok.error());
  }
  return transceiver{std::move(state)};
}

expected<> transceiver::respond_and_send_async(send_slice slice) {
  return impl_->ask<void>(local_answer, atom::offer_v, std::move(slice));
}

preparation transceiver::prepare_context_requests(std::vector<context_request> requests) {
  const auto& agreement = impl_->rank->options.agreement;
  const auto others =
      agreement.on ? agreement.patience + agreement.directory : std::chrono::milliseconds{0};
  auto answer = impl_->ask<preparation>(local_answer + others, atom::prepare_v, requests);
  if (answer)
    return std::move(*answer);
  preparation refused;
  for (const auto& request : requests)
    refused.refused.push_back({request.request, answer.error()});
  return refused;
}

std::vector<released_slice> transceiver::released_slices() {
  return impl_->ask<std::vector<released_slice>>(local_answer, atom::released_v)
      .value_or(std::vector<released_slice>{});
}

expected<> transceiver::request_and_receive_async(receive_request request) {
  return impl_->ask<void>(local_answer, atom::begin_v, std::move(request));
}

outcome transceiver::request_and_receive_sync(receive_request request) {
  const auto id = request.request;
  // The actor ends the request at its deadline and answers when its blocks are safe. The rest is
  // for a machine that is badly overloaded.
  const auto limit = bounded(request.timeout) + impl_->rank->options.clean_up + local_answer;
  auto answer = impl_->ask<outcome>(limit, atom::receive_v, std::move(request));
  if (answer)
    return std::move(*answer);
  outcome failed;
  failed.request = id;
  failed.failure = std::move(answer.error());
  if (failed.failure->code == errc::timed_out)
    failed.failure->text =
        fmt::format("request {} has not ended {} ms after it began: its blocks are not safe; free "
                    "them only after cancel_request has returned true",
                    id, limit.count());
  return failed;
}

std::vector<outcome>
transceiver::check_context_transfer_status(std::optional<std::size_t> at_least) {
  return check(instance_role::context, at_least);
}

std::vector<outcome> transceiver::check_gen_transfer_status(std::optional<std::size_t> at_least) {
  return check(instance_role::generation, at_least);
}

std::vector<outcome> transceiver::check(instance_role side, std::optional<std::size_t> at_least) {
  // The actor keeps the bound itself: a timeout of CAF would stay in its clock until it is due, one
  // for each call of an engine's loop. Should the actor end first, it answers.
  auto ended = impl_->ask<std::vector<outcome>>(
      caf::infinite, atom::fetch_v, static_cast<std::uint8_t>(side),
      at_least ? static_cast<std::int64_t>(*at_least) : std::int64_t{-1});
  return ended ? std::move(*ended) : impl_->take_late(side);
}

bool transceiver::check_gen_transfer_complete() {
  const auto counts = impl_->ask<statistics>(local_answer, atom::stats_v);
  return counts && counts->live_receives == 0;
}

bool transceiver::cancel_request(request_id request) {
  const auto limit = local_answer + impl_->rank->options.clean_up;
  return impl_->ask<bool>(limit, atom::cancel_v, request).value_or(false);
}

std::optional<request_state> transceiver::state_of(request_id request) {
  return impl_->ask<std::optional<request_state>>(local_answer, atom::state_v, request)
      .value_or(std::nullopt);
}

disaggregated_params transceiver::get_disaggregated_params() const {
  const auto& directory = impl_->rank->endpoint.directory;
  return {directory.empty() ? impl_->endpoint : directory, impl_->rank->layout.dp_rank()};
}

disaggregated_params transceiver::get_disaggregated_params(request_id request,
                                                           std::chrono::milliseconds patience) {
  return impl_->ask<disaggregated_params>(local_answer, atom::params_v, request, patience.count())
      .value_or(get_disaggregated_params());
}

expected<standing_offer> transceiver::offer_blocks(block_offer offer) {
  return impl_->ask<standing_offer>(local_answer, atom::offer_v, std::move(offer));
}

bool transceiver::withdraw_offer(offer_id offer) {
  return impl_->ask<bool>(local_answer + impl_->rank->options.clean_up, atom::withdraw_v, offer)
      .value_or(false);
}

block_outcome transceiver::pull_blocks(block_pull pull) {
  const auto limit = bounded(pull.timeout) + impl_->rank->options.clean_up + local_answer;
  auto answer = impl_->ask<block_outcome>(limit, atom::pull_v, std::move(pull));
  if (answer)
    return std::move(*answer);
  block_outcome failed;
  failed.failure = std::move(answer.error());
  return failed;
}

const std::string& transceiver::endpoint() const noexcept {
  return impl_->endpoint;
}

transceiver::statistics transceiver::stats() {
  return impl_->ask<statistics>(local_answer, atom::stats_v).value_or(statistics{});
}

transceiver_actor actor_access::of(const transceiver& rank) {
  return rank.impl_->actor;
}

void transceiver::shutdown(std::chrono::milliseconds drain) {
  impl_->shutdown(drain);
}

} // namespace baton
