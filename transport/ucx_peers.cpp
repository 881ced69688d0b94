#include "transport/ucx_peers.hpp"

#include <utility>

namespace baton {

void ucx_peer::send(lane_message id, const pull_head& head, std::string body) const {
  if (endpoint)
    endpoint->send(static_cast<unsigned>(id), head_bytes(head), std::move(body));
}

void ucx_peers::add(ucx_peer_card card) {
  auto& known = peers_[card.life];
  if (!known)
    known = std::make_shared<ucx_peer>();
  known->card = std::move(card);
  known->forgotten = false;
}

void ucx_peers::forget(incarnation life) {
  const auto peer = find(life);
  if (!peer || peer->forgotten)
    return;
  peer->forgotten = true;
  forgotten_.push_back(peer);
}

void ucx_peers::tidy() {
  std::erase_if(forgotten_, [this](const std::shared_ptr<ucx_peer>& peer) {
    if (!peer->forgotten)
      return true;
    if (peer->endpoint && peer->pulls + peer->serves > 0)
      return false;
    say_bye(*peer);
    peer->endpoint.reset();
    peers_.erase(peer->card.life);
    return true;
  });
}

std::shared_ptr<ucx_peer> ucx_peers::find(incarnation life) const {
  const auto found = peers_.find(life);
  return found == peers_.end() ? nullptr : found->second;
}

expected<> ucx_peers::connect(const std::shared_ptr<ucx_peer>& peer) {
  if (peer->endpoint)
    return {};
  auto endpoint = ucx_endpoint::connect(
      worker_, peer->card.address, [this, weak = std::weak_ptr{peer}](ucs_status_t status) {
        if (auto lost = weak.lock())
          broken_.push_back({std::move(lost),
                             ucx_failed(errc::peer_lost, "the connection broke", status).value()});
      });
  if (!endpoint)
    return fail(std::move(endpoint.error()));
  peer->endpoint = std::move(*endpoint);
  peer->link = random_number();
  return {};
}

std::vector<ucx_peers::loss> ucx_peers::take_broken() {
  auto taken = std::exchange(broken_, {});
  for (const auto& lost : taken)
    lost.peer->endpoint.reset();
  return taken;
}

void ucx_peers::left(const ucx_message& message) {
  const auto head = read_head<bye_head>(message.header);
  if (auto peer = head ? find(incarnation{head->sender}) : nullptr)
    broken_.push_back({std::move(peer), fail(errc::peer_lost, "the peer closed the link").value()});
}

void ucx_peers::say_bye(const ucx_peer& peer) const {
  if (peer.endpoint)
    peer.endpoint->send(static_cast<unsigned>(lane_message::bye), head_bytes(bye_head{life_.value}),
                        {});
}

void ucx_peers::say_bye() {
  for (const auto& [life, peer] : peers_)
    say_bye(*peer);
}

void ucx_peers::close() {
  for (const auto& [life, peer] : peers_)
    peer->endpoint.reset();
}

} // namespace baton
