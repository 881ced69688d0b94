#include "actors/transceiver_actor.hpp"

#include <utility>

#include "actors/caf_error.hpp"
#include "actors/connect.hpp"
#include "actors/log.hpp"
#include "actors/peer_link.hpp"
#include "actors/ticket_collection.hpp"

namespace baton {
namespace {

incarnation peer_of(const link_event& event) {
  return std::visit([](const auto& e) { return e.peer; }, event);
}

} // namespace

transceiver_state::~transceiver_state() {
  for (const auto& [life, link] : links_)
    caf::anon_send_exit(link.end, caf::exit_reason::user_shutdown);
  for (const auto& client : clients_)
    caf::anon_send_exit(client, caf::exit_reason::user_shutdown);
  for (const auto& [key, session] : sessions_) {
    caf::anon_send(session, atom::stop_v);
    rank_->plane->retire(key, [] {});
  }
  // Their sessions were told to stop, but may still run: from now on they pull and grant nothing.
  for (const auto key : leaving_)
    rank_->plane->retire(key, [] {});
  const auto ended = to_caf({errc::shutting_down, "this rank's transceiver has ended"});
  for (auto& [id, promise] : receivers_)
    promise.deliver(ended);
  for (auto& [id, promise] : cancellers_)
    promise.deliver(ended);
  for (auto& [id, promise] : fetchers_)
    promise.deliver(ended);
  for (auto& [id, waiting] : preparers_)
    waiting.promise.deliver(ended);
  for (auto& [id, promise] : ticket_askers_)
    promise.deliver(ended);
  for (auto& [id, promise] : pullers_)
    promise.deliver(ended);
  for (const auto key : exchange_ ? exchange_->keys() : std::vector<session_key>{})
    rank_->plane->retire(key, [] {});
  for (auto& visitor : visitors_)
    visitor.promise.deliver(ended);
  for (auto& visitor : strangers_.clear())
    visitor.promise.deliver(ended);
  for (auto& [life, waiting] : waiting_)
    waiting.visitor.promise.deliver(ended);
}

void transceiver_state::init(rank_context_ptr rank) {
  rank_ = std::move(rank);
  supervisor_ = std::make_unique<supervisor>(rank_->layout, rank_->options, *this);
  router_ = std::make_unique<router>(*this);
  exchange_ = std::make_unique<block_exchange>(rank_->layout, rank_->options.live_requests, *this);
  const auto& layout = rank_->layout;
  if (rank_->options.agreement.on && layout.ranks() / layout.dp_size() > 1)
    member_ = std::make_unique<agreement_member>(layout.life, layout.rank, rank_->options, *this);
}

void transceiver_state::start(const std::string& own_endpoint) {
  const auto where = split_endpoint(own_endpoint);
  if (!where) {
    log().error("{}", to_string(where.error()));
    stop();
    return;
  }
  rank_info self{rank_->layout, where->first, where->second, rank_->plane->manifest()};
  own_directory_ = rank_->endpoint.directory.empty() ? own_endpoint : rank_->endpoint.directory;
  exchange_->enlisted(own_directory_);
  membership_ = send_client({own_directory_, std::move(self)});
  sweep();
}

// -- events ----

void transceiver_state::link_changed(const link_event& event) {
  const auto peer = peer_of(event);
  const auto known = links_.find(peer);
  // A link that was replaced has nothing to say any more.
  if (known == links_.end() || !self_->current_sender() ||
      known->second.end.address() != caf::actor_cast<caf::actor_addr>(self_->current_sender()))
    return;
  const auto* up = std::get_if<link_up>(&event);
  const auto* loss = std::get_if<link_loss>(&event);
  const bool gone = std::holds_alternative<link_refused>(event) || (loss && loss->gone);
  known->second.lane = up ? std::optional{up->lane.lane} : std::nullopt;
  if (gone) {
    links_.erase(known);
    rank_->plane->forget(peer);
  }
  if (up && up->place.receivers)
    supervisor_->met(peer, up->place);
  router_->handle(event);
  exchange_->handle(event);
  if (loss || gone)
    supervisor_->link_lost(self_->clock().now(), {peer, gone});
  if (up || gone)
    end_waiting(peer, up != nullptr);
  settle();
}

void transceiver_state::lost_link(incarnation peer) {
  const link_loss loss{peer, true};
  rank_->plane->forget(peer);
  router_->handle(loss);
  exchange_->handle(loss);
  supervisor_->link_lost(self_->clock().now(), loss);
  end_waiting(peer, false);
  settle();
}

void transceiver_state::described(const std::string& endpoint, expected<instance_info> instance) {
  if (endpoint != own_directory_) {
    router_->described(endpoint, std::move(instance));
  } else if (!instance) {
    log().error("this rank cannot join its instance: {}", to_string(instance.error()));
    if (member_)
      member_->disconnected(self_->clock().now());
    outcast_ = instance.error();
    for (auto& visitor : std::exchange(visitors_, {}))
      visitor.promise.deliver(to_caf(instance.error()));
  } else {
    own_ = std::make_shared<const own_instance>(*instance, rank_->layout.rank);
    guests_.emplace(own_);
    router_->complete(own_);
    exchange_->complete(own_);
    if (member_)
      member_->connected(self_->clock().now());
    for (auto& visitor : std::exchange(visitors_, {}))
      accept(std::move(visitor));
  }
  settle();
}

void transceiver_state::owner_described(const std::string& endpoint,
                                        const expected<instance_info>& instance) {
  exchange_->described(endpoint, instance);
  settle();
}

void transceiver_state::received(peer_message message) {
  supervisor_->received(self_->clock().now(), message.peer, std::move(message.message));
  settle();
}

void transceiver_state::reported(session_key key, session_report report) {
  supervisor_->reported(self_->clock().now(), key, std::move(report));
  settle();
}

void transceiver_state::agreed(expected<agreement_verdict> verdict) {
  if (!member_)
    return;
  const auto now = self_->clock().now();
  if (verdict) {
    member_->received(now, std::move(*verdict));
  } else {
    log().warn("{}: status calls say what this rank knows until it is back", verdict.error().text);
    member_->disconnected(now);
  }
  settle();
}

void transceiver_state::retired(session_key key) {
  retired_.push_back(key);
  settle();
}

void transceiver_state::pulled(session_key key, expected<pull_stats> result) {
  pulled_.emplace_back(key, std::move(result));
  settle();
}

void transceiver_state::down(const caf::down_msg& message) {
  if (const auto session = session_of_.find(message.source); session != session_of_.end()) {
    const auto key = session->second;
    session_of_.erase(session);
    sessions_.erase(key);
    if (leaving_.erase(key) != 0)
      retire_now(key);
    else
      supervisor_->crashed(self_->clock().now(), key,
                           from_caf(message.reason, "unknown reason").text);
    settle();
    return;
  }
  std::erase_if(clients_, [&](const auto& client) { return client.address() == message.source; });
  for (auto link = links_.begin(); link != links_.end(); ++link)
    if (link->second.end.address() == message.source) {
      const auto peer = link->first;
      links_.erase(link);
      lost_link(peer);
      return;
    }
}

void transceiver_state::look_for_breakdown() {
  if (broken_)
    return;
  if (const auto why = rank_->plane->broken()) {
    broken_ = true;
    log().error("the data plane of {} rank {} has failed, and the rank refuses all work from now "
                "on; start it again: {}",
                to_string(rank_->layout.role), rank_->layout.rank, to_string(*why));
    supervisor_->break_down(*why);
  }
}

void transceiver_state::sweep() {
  look_for_breakdown();
  supervisor_->sweep(self_->clock().now());
  exchange_->sweep(self_->clock().now());
  if (member_)
    member_->sweep(self_->clock().now());
  for (const auto& visitor : strangers_.overdue(self_->clock().now()))
    ask_for_instance(visitor);
  // Whoever introduced itself has given up by then.
  std::erase_if(waiting_, [&](const auto& item) {
    return self_->clock().now() - item.second.since > introduction_timeout;
  });
  settle();
  warn_of_lost_outcomes();
  self_->delayed_send(self_, rank_->options.sweep, atom::sweep_v);
}

void transceiver_state::warn_of_lost_outcomes() {
  // Each doubling is worth a line, not each outcome.
  if (const auto lost = supervisor_->lost_outcomes(); lost > 2 * outcomes_lost_) {
    outcomes_lost_ = lost;
    log().warn("{} outcomes were lost, since nobody fetched them; call check_{}_transfer_status "
               "more often",
               lost, rank_->layout.role == instance_role::context ? "context" : "gen");
  }
}

void transceiver_state::settle() {
  do {
    for (auto& [key, route] : std::exchange(found_, {}))
      supervisor_->routed(self_->clock().now(), key, std::move(route));
    for (auto& [key, result] : std::exchange(pulled_, {}))
      exchange_->pulled(self_->clock().now(), key, std::move(result));
    for (const auto key : std::exchange(retired_, {})) {
      supervisor_->retired(self_->clock().now(), key);
      exchange_->retired(self_->clock().now(), key);
    }
    // Until somebody asks, they stay where their number is bounded.
    if (member_ && member_->waiting())
      take_in_ended();
  } while (!found_.empty() || !retired_.empty() || !pulled_.empty());
}

void transceiver_state::take_in_ended() {
  const auto now = self_->clock().now();
  for (auto& ended : supervisor_->take_ended(rank_->layout.role))
    member_->ended(now, std::move(ended));
  member_->flush(now);
}

// -- shell ----

transceiver_actor::behavior_type
transceiver_shell(transceiver_actor::stateful_pointer<transceiver_state> self,
                  rank_context_ptr rank) {
  self->state.init(std::move(rank));
  self->set_down_handler([self](const caf::down_msg& message) { self->state.down(message); });
  return {
      [self](atom::offer, send_slice& slice) { return self->state.offer(std::move(slice)); },
      [self](atom::prepare, const std::vector<context_request>& requests) {
        return self->state.prepare(requests);
      },
      [self](atom::offer, const block_offer& offer) { return self->state.offer_blocks(offer); },
      [self](atom::withdraw, offer_id id) { return self->state.withdraw(id); },
      [self](atom::pull, block_pull& pull) { return self->state.pull_blocks(std::move(pull)); },
      [self](atom::pulled, session_key key, expected<pull_stats>& result) {
        self->state.pulled(key, std::move(result));
      },
      [self](atom::params, request_id request, std::int64_t patience_ms) {
        return self->state.params(request, std::chrono::milliseconds{patience_ms});
      },
      [self](atom::ticket, std::uint64_t request, std::uint64_t patience_ms) {
        return self->state.ticket(request_id{request}, read_patience(patience_ms));
      },
      [self](atom::released) { return self->state.logic().take_released(); },
      [self](atom::receive, receive_request& request) {
        return self->state.receive(std::move(request));
      },
      [self](atom::begin, receive_request& request) {
        return self->state.begin(std::move(request));
      },
      [self](atom::fetch, std::uint8_t side, std::int64_t at_least) {
        return self->state.fetch(static_cast<instance_role>(side), at_least);
      },
      [self](atom::cancel, request_id request) { return self->state.cancel(request); },
      [self](atom::state, request_id request) { return self->state.logic().state_of(request); },
      [self](atom::unfetched) { return self->state.take_unfetched(); },
      [self](atom::stats) { return self->state.stats(); },
      [self](atom::refuse) { self->state.refuse_new(); },
      [self](atom::end_all) { self->state.end_all(); },
      [self](atom::stop) { self->state.stop(); },
      [self](atom::start, const std::string& endpoint) { self->state.start(endpoint); },
      [self](atom::report, session_key key, session_report& report) {
        self->state.reported(key, std::move(report));
      },
      [self](atom::retired, session_key key) { self->state.retired(key); },
      [self](peer_message& message) { self->state.received(std::move(message)); },
      [self](const link_event& event) { self->state.link_changed(event); },
      [self](atom::describe, const std::string& endpoint, expected<instance_info>& instance) {
        self->state.described(endpoint, std::move(instance));
      },
      [self](atom::describe, atom::pull, const std::string& endpoint,
             expected<instance_info>& instance) {
        self->state.owner_described(endpoint, instance);
      },
      [self](atom::agreed, expected<agreement_verdict>& verdict) {
        self->state.agreed(std::move(verdict));
      },
      [self](atom::introduce, const std::string& intro, const caf::strong_actor_ptr& remote) {
        return self->state.introduce(intro, remote);
      },
      [self](atom::sweep) { self->state.sweep(); },
  };
}

} // namespace baton
