#include "actors/transceiver_actor.hpp"

#include <algorithm>
#include <utility>

#include "actors/caf_error.hpp"
#include "actors/inline_call.hpp"
#include "actors/peer_link.hpp"
#include "actors/sessions.hpp"

namespace baton {

// -- supervisor_backend ----

void transceiver_state::send(incarnation peer, wire_message message) {
  rank_->peers->send(peer, message);
}

void transceiver_state::route(session_key key, const receive_request& request) {
  if (request.context.endpoint == own_directory_)
    routed(key,
           tl::unexpected{attempt_failure{
               {errc::invalid_argument,
                fmt::format("request {}: context.endpoint {} is that of this generation instance",
                            request.request, own_directory_)},
               false}});
  else
    router_->ask(key, request.context);
}

std::string transceiver_state::waits_for(session_key key) {
  return router_->waits_for(key);
}

void transceiver_state::withdraw(session_key key, const receive_request& request,
                                 cancel_notice notice) {
  if (request.context.endpoint != own_directory_)
    router_->withdraw(key, request.context, std::move(notice));
}

void transceiver_state::spawn(receive_spec spec) {
  const auto key = spec.key;
  watch(key, spawn_session(self_, rank_, std::move(spec)));
}

void transceiver_state::spawn(send_spec spec) {
  const auto key = spec.key;
  watch(key, spawn_session(self_, rank_, std::move(spec)));
}

void transceiver_state::watch(session_key key, session_actor session) {
  session_of_.emplace(session.address(), key);
  caf::anon_send(session, atom::start_v);
  sessions_.emplace(key, std::move(session));
}

void transceiver_state::tell(session_key key, session_input input) {
  if (const auto found = sessions_.find(key); found != sessions_.end())
    caf::anon_send(found->second, std::move(input));
}

void transceiver_state::dismiss(session_key key) {
  router_->forget(key);
  const auto found = sessions_.find(key);
  if (found == sessions_.end())
    return;
  caf::anon_send(found->second, atom::stop_v);
  leaving_.insert(key);
  sessions_.erase(found);
}

void transceiver_state::retire(session_key key) {
  // A session that still runs could pull or grant after the data plane was asked: its end comes
  // first.
  if (!leaving_.contains(key))
    retire_now(key);
}

void transceiver_state::retire_now(session_key key) {
  inline_call call;
  rank_->plane->retire(key, [this, call, me = transceiver_actor{self_}, key] {
    if (call.inside())
      retired_.push_back(key);
    else
      caf::anon_send(me, atom::retired_v, key);
  });
  call.leave();
}

void transceiver_state::answer(caller_id caller, outcome result) {
  if (auto node = receivers_.extract(caller))
    node.mapped().deliver(std::move(result));
}

void transceiver_state::answer_safe(caller_id caller) {
  if (auto node = cancellers_.extract(caller))
    node.mapped().deliver(true);
}

void transceiver_state::answer_ticket(caller_id caller,
                                      std::shared_ptr<const request_ticket> ticket) {
  auto node = ticket_askers_.extract(caller);
  if (node.empty())
    return;
  auto bytes = ticket ? encode_within_limit(*ticket)
                      : expected<std::string>{
                            fail(errc::unknown_request,
                                 "context rank {} has not offered all of it, or has no leases left",
                                 rank_->layout.rank)};
  if (bytes)
    node.mapped().deliver(std::move(*bytes));
  else
    node.mapped().deliver(to_caf(bytes.error()));
}

void transceiver_state::answer_ended(caller_id caller, std::vector<outcome> ended) {
  // Whoever is alone agrees with itself.
  if (rank_->options.agreement.on && !member_)
    for (auto& result : ended)
      result.agreed = true;
  if (auto node = fetchers_.extract(caller))
    node.mapped().deliver(std::move(ended));
}

// -- agreement_backend ----

void transceiver_state::vote(const agreement_vote& vote) {
  caf::anon_send(membership_, atom::agree_v, encode(vote));
}

bool transceiver_state::abandon(request_id request, const error& reason) {
  return supervisor_->abandon(request, reason);
}

void transceiver_state::answer_ready(caller_id caller, std::vector<request_id> ready) {
  if (auto node = preparers_.extract(caller))
    node.mapped().promise.deliver(preparation{std::move(ready), std::move(node.mapped().refused)});
}

// -- exchange_backend ----

void transceiver_state::describe_owner(const std::string& endpoint, bool again) {
  directory_errand errand{endpoint, std::nullopt};
  if (again)
    errand.patience = std::min(errand.patience, rank_->options.peer_grace);
  errand.for_blocks = true;
  send_client(std::move(errand));
}

std::optional<lane_kind> transceiver_state::link_to(const source_contact& peer) {
  connect(peer);
  const auto& known = links_.at(peer.rank.layout.life);
  if (!known.ours && !known.lane)
    self_->send(known.end, atom::pull_v);
  return known.lane;
}

session_key transceiver_state::new_key() {
  return supervisor_->take_key();
}

expected<lease> transceiver_state::grant(session_key key, grant_spec spec) {
  return rank_->plane->grant(key, std::move(spec));
}

void transceiver_state::pull(session_key key, pull_job job) {
  inline_call call;
  rank_->plane->pull(key, std::move(job),
                     [this, call, me = transceiver_actor{self_}, key](expected<pull_stats> result) {
                       if (call.inside())
                         pulled_.emplace_back(key, std::move(result));
                       else
                         caf::anon_send(me, atom::pulled_v, key, std::move(result));
                     });
  call.leave();
}

void transceiver_state::answer_pull(caller_id caller, block_outcome result) {
  if (auto node = pullers_.extract(caller))
    node.mapped().deliver(std::move(result));
}

// -- router_backend ----

void transceiver_state::describe(const std::string& endpoint, bool again) {
  directory_errand errand{endpoint, std::nullopt};
  if (again)
    errand.patience = std::min(errand.patience, rank_->options.peer_grace);
  send_client(std::move(errand));
}

directory_client_actor transceiver_state::send_client(directory_errand errand) {
  return clients_.emplace_back(self_->spawn<caf::monitored>(
      directory_client, rank_, transceiver_actor{self_}, std::move(errand)));
}

void transceiver_state::connect(const source_contact& peer) {
  const auto life = peer.rank.layout.life;
  if (links_.contains(life))
    return;
  const auto link = self_->spawn<caf::monitored>(
      link_initiator, link_config{rank_, transceiver_actor{self_}, own_, peer});
  links_.emplace(life, known_link{link, true, std::nullopt});
}

void transceiver_state::routed(session_key key,
                               tl::expected<receive_route, attempt_failure> route) {
  found_.push_back({key, std::move(route)});
}

void transceiver_state::tell_withdrawn(incarnation source, const cancel_notice& notice) {
  rank_->peers->send(source, notice);
}

} // namespace baton
