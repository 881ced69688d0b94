#pragma once

#include <mutex>
#include <unordered_map>

#include "actors/actors.hpp"
#include "messages/wire.hpp"

namespace baton {

/// The remote ends of all links that are up. Sessions send through it straight from their own
/// thread. Thread-safe.
class peer_book {
public:
  void add(incarnation peer, link_actor remote) {
    const std::lock_guard lock{mutex_};
    remotes_.insert_or_assign(peer, std::move(remote));
  }

  /// Removes a link, unless a newer one has taken its place.
  void remove(incarnation peer, const link_actor& remote) {
    const std::lock_guard lock{mutex_};
    const auto found = remotes_.find(peer);
    if (found != remotes_.end() && found->second == remote)
      remotes_.erase(found);
  }

  /// Sends a message to a peer; it is dropped if there is no link, just as if the link broke a
  /// moment later.
  void send(incarnation peer, const wire_message& message) const {
    link_actor remote;
    {
      const std::lock_guard lock{mutex_};
      const auto found = remotes_.find(peer);
      if (found == remotes_.end())
        return;
      remote = found->second;
    }
    caf::anon_send(remote, atom::deliver_v, encode(message));
  }

  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock{mutex_};
    return remotes_.size();
  }

private:
  mutable std::mutex mutex_;
  std::unordered_map<incarnation, link_actor> remotes_;
};

} // namespace baton
