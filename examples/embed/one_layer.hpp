#pragma once

#include <cstddef>
#include <memory>

#include <caf/actor_system.hpp>

#include "baton.hpp"

namespace embed {

/// One layer, 2 heads of 64 bf16 elements, 16 tokens a block: [slot][key, value][head][token][dim].
[[nodiscard]] baton::rank_layout one_layer(baton::instance_role role);

/// One rank of a model with one layer: an actor system, memory and a transceiver. In an engine it
/// is a process of its own. A host that has an actor system uses that, after
/// `baton::configure(config)`; one that has a cache registers it with `host_pool::adopt`.
class rank {
public:
  /// Ends the program if it cannot be started.
  explicit rank(baton::instance_role role);

  [[nodiscard]] baton::transceiver& operator*() noexcept { return *transceiver_; }
  [[nodiscard]] baton::transceiver* operator->() noexcept { return transceiver_.get(); }
  [[nodiscard]] caf::actor_system& system() noexcept { return system_; }

  /// Writes one byte all over a slot; tells whether a slot holds nothing else.
  void fill(std::size_t slot, std::byte byte);
  [[nodiscard]] bool holds(std::size_t slot, std::byte byte) const;

private:
  baton::rank_layout layout_;
  baton::actor_config config_;
  caf::actor_system system_{config_};
  std::shared_ptr<baton::rank_plane> plane_;
  std::unique_ptr<baton::transceiver> transceiver_;
};

/// Prefill: computes the 20 tokens of request 7 into slots 5 and 9, and its first new token.
[[nodiscard]] baton::send_slice prefill(rank& context);

/// Decode: asks for request 7, to be put into slots 2 and 3. `params` came from the context side by
/// way of the router.
[[nodiscard]] baton::receive_request wish(baton::disaggregated_params params);

/// Says how the request ended, and returns the exit status: 0 if its tokens lie in `generation`.
[[nodiscard]] int report(const rank& generation, const baton::outcome& result);
/// Says why a call was refused, and returns the exit status.
[[nodiscard]] int report(const baton::error& reason);

} // namespace embed
