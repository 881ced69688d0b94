#include "transport/ucx/peers.hpp"

#include <algorithm>
#include <utility>

namespace baton {

namespace {

/// How much longer than a reader an owner may take: it may be waiting for a slot that a reader of
/// its own holds until that is given up.
constexpr int owner_patience = 2;

error stuck(const char* did, std::chrono::milliseconds limit) {
  return {errc::peer_lost,
          fmt::format("the peer {} nothing for {} ms: it is stopped, overloaded or cut off", did,
                      limit.count())};
}

} // namespace

void ucx_peer::send(lane_message id, const pull_head& head, std::string body) const {
  if (endpoint)
    endpoint->send(static_cast<unsigned>(id), head_bytes(head), std::move(body));
}

ucx_peers::ucx_peers(incarnation life, ucx_worker& worker, ucx_connecting connecting,
                     std::chrono::milliseconds stuck_after, ender ended)
    : life_{life},
      worker_{worker},
      connecting_{connecting},
      stuck_after_{stuck_after},
      ended_{std::move(ended)} {
}

void ucx_peers::add(ucx_peer_card card) {
  auto& known = peers_[card.life];
  if (!known)
    known = std::make_shared<ucx_peer>();
  known->card = std::move(card);
  known->forgotten = false;
  if (connecting_ != ucx_connecting::ahead)
    return;
  // Whoever is introduced is alive, and hears our last words before anything new.
  for (auto& one : closing_)
    if (one.life == known->card.life)
      one.stays = false;
  unconnected_.push_back(known);
  connect_ahead();
}

void ucx_peers::forget(incarnation life) {
  const auto peer = find(life);
  if (!peer || std::exchange(peer->forgotten, true))
    return;
  std::erase_if(forgotten_, [&](const forgotten_peer& one) { return one.peer == peer; });
  forgotten_.push_back({peer, clock::now() + forget_grace});
}

ucx_peers::shared_peer ucx_peers::find(incarnation life) const {
  const auto found = peers_.find(life);
  return found == peers_.end() ? nullptr : found->second;
}

expected<> ucx_peers::connect(const shared_peer& peer) {
  if (peer->endpoint)
    return {};
  if (peer->is_gone())
    return fail(errc::peer_lost, "the peer has shut down");
  // Two endpoints to one process would take memory mapped through UCX away from each other.
  if (is_kept(peer->card.life))
    return fail(errc::peer_lost, "the peer has not closed the link before this one");
  close_left(peer->card.life);
  const auto link = ++last_link_;
  auto endpoint = ucx_endpoint::connect(
      worker_, peer->card.address, [this, link, weak = std::weak_ptr{peer}](ucs_status_t status) {
        if (auto lost = weak.lock())
          broken_.push_back({std::move(lost), link,
                             ucx_failed(errc::peer_lost, "the connection broke", status).value()});
      });
  if (!endpoint)
    return fail(std::move(endpoint.error()));
  peer->endpoint = std::move(*endpoint);
  peer->link = link;
  return {};
}

expected<> ucx_peers::meet(const shared_peer& peer, std::uint64_t link) {
  if (link < peer->peer_link || link <= peer->peer_left)
    return fail(errc::peer_lost, "the call came by a link that has ended");
  if (link != std::exchange(peer->peer_link, link)) {
    if (peer->met)
      end(peer, {errc::peer_lost, "the peer connected anew"});
    close_left(peer->card.life);
  }
  auto connected = connect(peer);
  peer->met = connected.has_value();
  return connected;
}

void ucx_peers::left(const ucx_message& message) {
  const auto head = read_head<bye_head>(message.header);
  if (!head)
    return;
  for (auto& one : closing_)
    if (one.life.value == head->sender && one.stays)
      one.until = clock::now();
  const auto peer = find(incarnation{head->sender});
  if (!peer)
    return;
  peer->peer_left = std::max(peer->peer_left, head->link);
  if (!peer->endpoint)
    return;
  // One made ahead was bound by UCX to the first that came.
  const bool present = peer->is_gone()        ? true
                       : head->peer_link != 0 ? head->peer_link == peer->link
                       : peer->met            ? head->link == peer->peer_link
                                              : connecting_ == ucx_connecting::ahead;
  if (present)
    broken_.push_back({peer, peer->link, {errc::peer_lost, "the peer closed the link"}, true});
}

bool ucx_peers::end_broken() {
  const auto broken = std::exchange(broken_, {});
  for (const auto& one : broken) {
    if (one.peer->link == one.link) {
      if (one.by_bye)
        leave(*one.peer, true);
      else if (connecting_ == ucx_connecting::ahead)
        closing_.push_back({one.peer->card.life, one.link, std::move(one.peer->endpoint),
                            std::make_shared<bool>(false), clock::now() + last_words, true});
      end(one.peer, one.why);
      // Over shared memory a link hardly breaks but with its peer.
      if (one.by_bye)
        connect_later(one.peer);
    }
    // What the peer sent before it died may still be on its way.
    for (auto& left : closing_)
      if (left.link == one.link)
        left.until = std::min(left.until, clock::now() + last_words);
  }
  return !broken.empty();
}

void ucx_peers::end(const shared_peer& peer, const error& why) {
  peer->endpoint.reset();
  peer->link = 0;
  peer->met = false;
  // What is asked for anew waits from its own beginning.
  peer->reading = {};
  peer->serving = {};
  ended_(peer, why);
}

void ucx_peers::connect_later(const shared_peer& peer) {
  if (connecting_ == ucx_connecting::ahead && !peer->forgotten && !peer->is_gone())
    unconnected_.push_back(peer);
}

/// The receiver confirms a flush, so that what went before it has arrived.
void ucx_peers::leave(ucx_peer& peer, bool answered, std::uint64_t told) {
  if (!peer.endpoint)
    return;
  const bye_head bye{life_.value, told, peer.met ? peer.peer_link : 0};
  peer.endpoint->send(static_cast<unsigned>(lane_message::bye), head_bytes(bye), {});
  auto flushed = std::make_shared<bool>(false);
  peer.endpoint->flush([flushed](ucs_status_t) { *flushed = true; });
  const bool stays = connecting_ == ucx_connecting::ahead && !answered && peer.staged == 0;
  closing_.push_back({peer.card.life, peer.link, std::move(peer.endpoint), std::move(flushed),
                      clock::now() + (stays ? answer_wait : last_words), stays});
}

void ucx_peers::watch(clock::time_point now) {
  if (!closing_.empty())
    close_ended(now);
  if (!forgotten_.empty())
    drop_forgotten(now);
  if (!unconnected_.empty())
    connect_ahead();
  if (now < next_look_)
    return;
  next_look_ = now + look_again;
  drop_stuck(now);
}

void ucx_peers::close_ended(clock::time_point now) {
  std::erase_if(closing_, [&](const closing& one) {
    return now >= one.until || (*one.flushed && !one.stays);
  });
}

bool ucx_peers::is_kept(incarnation life) const noexcept {
  return std::ranges::any_of(closing_,
                             [&](const closing& one) { return one.life == life && one.stays; });
}

void ucx_peers::close_left(incarnation life) {
  std::erase_if(closing_, [&](const closing& one) { return one.life == life; });
}

void ucx_peers::connect_ahead() {
  std::erase_if(unconnected_, [&](const shared_peer& peer) {
    const bool leaving =
        std::ranges::find(closing_, peer->card.life, &closing::life) != closing_.end();
    // One that is not there gets none.
    if (!leaving && !peer->forgotten)
      static_cast<void>(connect(peer));
    return !leaving;
  });
}

void ucx_peers::drop_forgotten(clock::time_point now) {
  std::erase_if(forgotten_, [&](const forgotten_peer& one) {
    const auto& peer = one.peer;
    if (!peer->forgotten)
      return true;
    if (peer->endpoint && peer->pulls + peer->serves > 0 && now < one.until)
      return false;
    leave(*peer);
    end(peer, {errc::peer_lost, "the peer was given up"});
    peers_.erase(peer->card.life);
    return true;
  });
}

void ucx_peers::drop_stuck(clock::time_point now) {
  for (const auto& [life, peer] : peers_) {
    const bool no_reader = peer->serving.look(now, peer->staged > 0, peer->left) >= stuck_after_;
    const bool no_owner =
        peer->reading.look(now, peer->is_awaited(), peer->heard) >= owner_patience * stuck_after_;
    if (!peer->endpoint || (!no_reader && !no_owner))
      continue;
    leave(*peer);
    end(peer,
        no_reader ? stuck("took", stuck_after_) : stuck("sent", owner_patience * stuck_after_));
    connect_later(peer);
  }
}

bool ucx_peers::is_watching() const noexcept {
  return !closing_.empty() || !forgotten_.empty() || !unconnected_.empty() ||
         std::ranges::any_of(peers_, [](const auto& known) {
           return known.second->staged > 0 || known.second->is_awaited();
         });
}

void ucx_peers::leave_all() {
  for (const auto& [life, peer] : peers_)
    leave(*peer, false, bye_head::for_good);
}

void ucx_peers::close() {
  unconnected_.clear();
  closing_.clear();
  for (const auto& [life, peer] : peers_)
    peer->endpoint.reset();
}

} // namespace baton
