#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "actors/actors.hpp"
#include "actors/options.hpp"
#include "actors/peer_book.hpp"
#include "transport/seam/data_plane.hpp"

namespace baton {

/// What all actors of one rank share. Fixed once the rank is started.
struct rank_context {
  rank_layout layout;
  std::shared_ptr<data_plane> plane;
  rank_endpoint endpoint; ///< as asked for; `directory` is empty on rank 0
  transceiver_options options;
  std::shared_ptr<peer_book> peers = std::make_shared<peer_book>();
  /// Finds doors without a network, by host:port. For tests on the deterministic scheduler, and for
  /// a rank's own door.
  std::function<std::optional<door_actor>(const std::string&)> local_door;
};

using rank_context_ptr = std::shared_ptr<rank_context>;

} // namespace baton
