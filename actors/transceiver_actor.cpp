#include "actors/transceiver_actor.hpp"

#include <algorithm>
#include <utility>

#include "actors/caf_error.hpp"
#include "actors/connect.hpp"
#include "actors/inline_call.hpp"
#include "actors/log.hpp"
#include "actors/peer_link.hpp"
#include "actors/sessions.hpp"
#include "actors/ticket_collection.hpp"

namespace baton {
namespace {

caf::result<void> to_result(const expected<>& done) {
  if (!done)
    return to_caf(done.error());
  return caf::unit;
}

// Peers that wait for this rank to know its own instance.
constexpr std::size_t most_visitors = 4'096;

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

// -- calls ----

caf::result<void> transceiver_state::offer(send_slice slice) {
  const auto done = supervisor_->offer(self_->clock().now(), std::move(slice));
  return to_result(done);
}

caf::result<preparation> transceiver_state::prepare(const std::vector<context_request>& requests) {
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
  const auto caller = ++last_caller_;
  auto promise = self_->make_response_promise<block_outcome>();
  pullers_.emplace(caller, promise);
  exchange_->pull(self_->clock().now(), std::move(pull), caller);
  settle();
  return promise;
}

caf::result<std::string, caf::strong_actor_ptr>
transceiver_state::introduce(const std::string& intro, const caf::strong_actor_ptr& remote) {
  if (!remote)
    return to_caf(
        {errc::invalid_argument, "an introduction came without the other end of the link"});
  auto promise = self_->make_response_promise<std::string, caf::strong_actor_ptr>();
  knock visitor{intro, caf::actor_cast<link_actor>(remote), promise};
  if (own_) {
    accept(std::move(visitor));
  } else if (outcast_) {
    promise.deliver(to_caf(*outcast_));
  } else {
    visitors_.push_back(std::move(visitor));
    if (visitors_.size() > most_visitors) {
      visitors_.front().promise.deliver(
          to_caf({errc::out_of_resources, "too many peers wait for this rank's instance"}));
      visitors_.pop_front();
    }
  }
  return promise;
}

void transceiver_state::accept(knock visitor) {
  const auto intro = read_introduction(visitor.intro);
  if (!intro)
    return refuse(visitor, intro.error());
  if (intro->for_blocks && intro->self.layout.role == rank_->layout.role)
    return let_in(visitor, *intro, acquaint_alike(*own_, intro->self));
  const auto digest = intro->digest;
  if (guests_->knows(digest))
    return let_in(visitor, *intro, guests_->meet(*intro));
  if (intro->instance.empty()) {
    if (const auto asked = strangers_.wait(self_->clock().now(), digest, std::move(visitor)))
      ask_for_instance(*asked);
    return;
  }
  if (auto ok = guests_->add(digest, intro->instance); !ok)
    return refuse(visitor, ok.error());
  let_in(visitor, *intro, guests_->meet(*intro));
  for (auto& other : strangers_.release(digest))
    accept(std::move(other));
}

void transceiver_state::refuse(const knock& visitor, const error& reason) {
  log().warn("an introduction was refused: {}", to_string(reason));
  auto promise = visitor.promise;
  promise.deliver(to_caf(reason));
}

void transceiver_state::ask_for_instance(const knock& visitor) {
  auto intro = own_->introduce(rank_->plane->manifest(), rank_->plane->version());
  intro.wants_instance = true;
  auto promise = visitor.promise;
  promise.deliver(encode(intro), caf::strong_actor_ptr{});
}

void transceiver_state::let_in(const knock& visitor, const introduction& intro,
                               expected<acquaintance> met) {
  if (!met)
    return refuse(visitor, met.error());
  const auto life = met->card.life;
  if (keep_waiting(visitor, life))
    return;
  if (const auto old = links_.find(life); old != links_.end())
    caf::anon_send_exit(old->second.end, caf::exit_reason::kill);
  const auto link = self_->spawn<caf::monitored>(
      link_acceptor, link_config{rank_, self_, own_, {intro.self, nullptr}}, std::move(*met),
      visitor.remote);
  links_[life] = {link, false, std::nullopt};
  if (exchange_->waits_for(life))
    self_->send(link, atom::pull_v);
  self_->request(link, introduction_timeout, atom::start_v)
      .then([promise = visitor.promise](
                const std::string& answer,
                const caf::strong_actor_ptr& end) mutable { promise.deliver(answer, end); },
            [promise = visitor.promise](caf::error& err) mutable {
              promise.deliver(std::move(err));
            });
}

bool transceiver_state::keep_waiting(const knock& visitor, incarnation life) {
  const auto known = links_.find(life);
  if (known == links_.end() || !known->second.ours || life < rank_->layout.life)
    return false;
  end_waiting(life, true);
  waiting_.insert_or_assign(life, waiting_knock{visitor, self_->clock().now()});
  return true;
}

void transceiver_state::end_waiting(incarnation life, bool is_up) {
  auto node = waiting_.extract(life);
  if (node.empty())
    return;
  auto& visitor = node.mapped().visitor;
  if (is_up)
    visitor.promise.deliver(
        to_caf({errc::duplicate_request, "there is a link already, or a newer introduction"}));
  else
    accept(std::move(visitor));
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
