#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "transport/mapped/gpu_peer.hpp"
#include "transport/peer/peer_memory.hpp"
#include "transport/seam/data_plane.hpp"

namespace baton {

/// A peer from which this rank can pull.
struct introduced_peer {
  peer_card card;
  lane_choice lane;
  std::shared_ptr<const peer_memory> memory; ///< on the mapped lane
  std::shared_ptr<gpu_peer> gpu;             ///< on the mapped lane, if the GPU moves the bytes
};

/// The peers of a rank: introductions under way, and those that are done. Thread-safe. Callbacks
/// run outside of the lock.
class peer_registry {
public:
  using callback = std::function<void(expected<lane_choice>)>;

  /// Adds a peer. If it is known already, `done` gets the same answer as the first introduction,
  /// now or when that is settled. One that only pulled from us until now, and from which we are to
  /// pull as well, is introduced once more, and stays as it was until that succeeds.
  ///
  /// @returns a ticket for the introduction that is to be settled; nothing for a known peer.
  [[nodiscard]] std::optional<std::uint64_t> add(peer_card card, callback done);

  /// Ends the introduction that the ticket stands for, unless it was forgotten. A failed one leaves
  /// the peer as it was before.
  ///
  /// @param ready called under the lock before anybody can learn of a success.
  void settle(incarnation life, std::uint64_t ticket, const expected<lane_choice>& choice,
              std::shared_ptr<const peer_memory> memory, const std::function<void()>& ready,
              std::shared_ptr<gpu_peer> gpu = nullptr);

  /// Forgets a peer; an introduction under way ends with `peer_lost`.
  ///
  /// @param gone called under the lock, whether the peer was known or not, hence before the `ready`
  /// of any later introduction and after that of any earlier one.
  void remove(incarnation life, const std::function<void()>& gone);
  void clear();

  /// Returns a peer whose introduction succeeded, or null.
  [[nodiscard]] std::shared_ptr<const introduced_peer> find(incarnation life) const;

private:
  struct entry {
    std::uint64_t ticket = 0;
    std::shared_ptr<const introduced_peer> peer; ///< null while the introduction is under way
    peer_card card;
    std::vector<callback> waiting;
  };

  mutable std::mutex mutex_;
  std::uint64_t tickets_ = 0;
  std::unordered_map<incarnation, entry> peers_;
};

} // namespace baton
