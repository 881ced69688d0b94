#include "transport/peer_registry.hpp"

#include <utility>

#include "transport/base/guarded_calls.hpp"

namespace baton {

std::optional<std::uint64_t> peer_registry::add(peer_card card, callback done) {
  std::shared_ptr<const introduced_peer> known;
  {
    const std::lock_guard lock{mutex_};
    const auto [found, added] = peers_.try_emplace(card.life);
    auto& entry = found->second;
    const bool more = entry.peer && !entry.peer->card.pull && card.pull;
    if (added || more) {
      entry.ticket = ++tickets_;
      entry.card = std::move(card);
    }
    if (!more)
      known = entry.peer;
    if (!known)
      entry.waiting.push_back(std::move(done));
    if (added || more)
      return entry.ticket;
  }
  if (known)
    done(known->lane);
  return std::nullopt;
}

void peer_registry::settle(incarnation life, std::uint64_t ticket,
                           const expected<lane_choice>& choice,
                           std::shared_ptr<const peer_memory> memory,
                           const std::function<void()>& ready, std::shared_ptr<gpu_peer> gpu) {
  std::vector<callback> waiting;
  {
    const std::lock_guard lock{mutex_};
    const auto found = peers_.find(life);
    if (found == peers_.end() || found->second.ticket != ticket)
      return;
    auto& entry = found->second;
    waiting = std::move(entry.waiting);
    if (choice) {
      entry.peer = std::make_shared<const introduced_peer>(
          introduced_peer{std::move(entry.card), *choice, std::move(memory), std::move(gpu)});
      ready();
    } else if (!entry.peer) {
      peers_.erase(found);
    }
  }
  call_all(waiting, choice);
}

void peer_registry::remove(incarnation life, const std::function<void()>& gone) {
  std::vector<callback> waiting;
  std::shared_ptr<const introduced_peer> dropped; // let go of outside of the lock
  {
    const std::lock_guard lock{mutex_};
    gone();
    const auto found = peers_.find(life);
    if (found == peers_.end())
      return;
    waiting = std::move(found->second.waiting);
    dropped = std::move(found->second.peer);
    peers_.erase(found);
  }
  const expected<lane_choice> lost =
      fail(errc::peer_lost, "peer {} was given up during its introduction", life);
  call_all(waiting, lost);
}

void peer_registry::clear() {
  const std::lock_guard lock{mutex_};
  peers_.clear();
}

std::shared_ptr<const introduced_peer> peer_registry::find(incarnation life) const {
  const std::lock_guard lock{mutex_};
  const auto found = peers_.find(life);
  return found == peers_.end() ? nullptr : found->second.peer;
}

} // namespace baton
