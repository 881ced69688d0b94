#include "actors/transceiver_actor.hpp"

#include <utility>

#include "actors/caf_error.hpp"
#include "actors/connect.hpp"
#include "actors/log.hpp"

namespace baton {
namespace {

caf::result<void> to_result(const expected<>& done) {
  if (!done)
    return to_caf(done.error());
  return caf::unit;
}

} // namespace

caf::result<void> transceiver_state::offer(send_slice slice) {
  look_for_breakdown();
  const auto done = supervisor_->offer(self_->clock().now(), std::move(slice));
  return to_result(done);
}

caf::result<preparation> transceiver_state::prepare(const std::vector<context_request>& requests) {
  look_for_breakdown();
  const auto now = self_->clock().now();
  preparation answer;
  for (const auto& request : requests)
    if (auto taken = supervisor_->prepare(now, request); !taken)
      answer.refused.push_back({request.request, std::move(taken.error())});
  settle();
  answer.ready = supervisor_->take_ready();
  if (!member_)
    return answer;
  const auto caller = ++last_caller_;
  auto promise = self_->make_response_promise<preparation>();
  preparers_.emplace(caller, preparing{promise, std::move(answer.refused)});
  for (const auto id : answer.ready)
    member_->ready(id, supervisor_->deadline_of(now, id));
  member_->prepare(now, caller);
  settle();
  return promise;
}

caf::result<outcome> transceiver_state::receive(receive_request request) {
  look_for_breakdown();
  const auto caller = ++last_caller_;
  auto done = supervisor_->receive(self_->clock().now(), std::move(request), caller);
  if (!done) {
    if (done.error().code == errc::duplicate_request)
      log().warn("{}", done.error().text);
    return to_caf(done.error());
  }
  auto promise = self_->make_response_promise<outcome>();
  receivers_.emplace(caller, promise);
  settle();
  return promise;
}

caf::result<void> transceiver_state::begin(receive_request request) {
  look_for_breakdown();
  const auto done = supervisor_->receive(self_->clock().now(), std::move(request), std::nullopt);
  if (!done && done.error().code == errc::duplicate_request)
    log().warn("{}", done.error().text);
  settle();
  return to_result(done);
}

caf::result<std::vector<outcome>> transceiver_state::fetch(instance_role side,
                                                           std::int64_t at_least) {
  const auto caller = ++last_caller_;
  auto promise = self_->make_response_promise<std::vector<outcome>>();
  fetchers_.emplace(caller, promise);
  const auto now = self_->clock().now();
  const auto wanted =
      at_least < 0 ? std::nullopt : std::optional{static_cast<std::size_t>(at_least)};
  if (!member_ || side != rank_->layout.role) {
    supervisor_->await_ended(now, side, wanted, caller);
    return promise;
  }
  take_in_ended();
  member_->check(now, wanted, wanted == 0u ? census{} : supervisor_->count_live(now, side), caller);
  settle();
  return promise;
}

std::vector<outcome> transceiver_state::take_unfetched() {
  auto left = member_ ? member_->take_kept() : std::vector<outcome>{};
  for (auto& ended : supervisor_->take_ended(rank_->layout.role))
    left.push_back(std::move(ended.result));
  return left;
}

caf::result<bool> transceiver_state::cancel(request_id request) {
  const auto caller = ++last_caller_;
  auto promise = self_->make_response_promise<bool>();
  cancellers_.emplace(caller, promise);
  supervisor_->cancel(request, caller);
  settle();
  return promise;
}

caf::result<disaggregated_params> transceiver_state::params(request_id request,
                                                            std::chrono::milliseconds patience) {
  const disaggregated_params plain{own_directory_, rank_->layout.dp_rank()};
  if (rank_->layout.role != instance_role::context || !membership_)
    return plain;
  auto promise = self_->make_response_promise<disaggregated_params>();
  // The directory waits for the ranks; the rest is for its answer.
  const auto wait = std::clamp(patience, std::chrono::milliseconds{0}, longest_ticket_wait);
  self_
      ->request(membership_, wait + door_timeout, atom::collect_v, request.value,
                static_cast<std::uint64_t>(wait.count()))
      .then(
          [promise, plain](const std::string& bytes) mutable {
            auto params = plain;
            if (auto ticket = decode_ticket(bytes))
              params.ticket = std::make_shared<const request_ticket>(*std::move(ticket));
            promise.deliver(std::move(params));
          },
          [promise, plain, request](const caf::error& err) mutable {
            log().debug("request {} has no ticket: {}", request, from_caf(err, "directory").text);
            promise.deliver(plain);
          });
  return promise;
}

caf::result<std::string> transceiver_state::ticket(request_id request,
                                                   std::chrono::milliseconds patience) {
  const auto caller = ++last_caller_;
  auto promise = self_->make_response_promise<std::string>();
  ticket_askers_.emplace(caller, promise);
  supervisor_->ticket(self_->clock().now(), request, patience, caller);
  settle();
  return promise;
}

caf::result<standing_offer> transceiver_state::offer_blocks(const block_offer& offer) {
  look_for_breakdown();
  if (own_directory_.empty())
    return to_caf({errc::invalid_argument, "this rank has not been started"});
  auto made = exchange_->offer(self_->clock().now(), offer);
  settle();
  if (!made)
    return to_caf(made.error());
  return std::move(*made);
}

caf::result<bool> transceiver_state::withdraw(offer_id id) {
  const auto caller = ++last_caller_;
  auto promise = self_->make_response_promise<bool>();
  cancellers_.emplace(caller, promise);
  exchange_->withdraw(id, caller);
  settle();
  return promise;
}

caf::result<block_outcome> transceiver_state::pull_blocks(block_pull pull) {
  look_for_breakdown();
  const auto caller = ++last_caller_;
  auto promise = self_->make_response_promise<block_outcome>();
  pullers_.emplace(caller, promise);
  exchange_->pull(self_->clock().now(), std::move(pull), caller);
  settle();
  return promise;
}

void transceiver_state::refuse_new() {
  supervisor_->refuse_new();
  exchange_->refuse_new();
}

void transceiver_state::end_all() {
  supervisor_->cancel_all();
  exchange_->end_all();
  settle();
}

transceiver::statistics transceiver_state::stats() const {
  transceiver::statistics counts;
  counts.live_sends = supervisor_->live(instance_role::context);
  counts.prepared = supervisor_->prepared();
  counts.live_receives = supervisor_->live(instance_role::generation);
  counts.sessions = sessions_.size();
  counts.early_requests = supervisor_->early();
  counts.waiting_callers = receivers_.size() + cancellers_.size() + fetchers_.size() +
                           preparers_.size() + ticket_askers_.size();
  counts.leases_granted = rank_->plane->granted();
  counts.links = rank_->peers->size();
  counts.block_offers = exchange_->offers();
  counts.block_pulls = exchange_->pulls();
  counts.dropped_messages = supervisor_->dropped();
  counts.lost_outcomes = supervisor_->lost_outcomes();
  return counts;
}

void transceiver_state::stop() {
  self_->quit();
}

} // namespace baton
