#pragma once

#include <cstdint>
#include <memory>

#include "actors/own_instance.hpp"
#include "actors/session.hpp"
#include "messages/wire.hpp"
#include "transport/seam/data_plane.hpp"

namespace baton {

/// What a rank knows of a peer once they are introduced.
struct acquaintance {
  peer_card card;
  std::uint64_t digest = 0; ///< of the peer's instance
  /// Ranks of the peer's dp group that pull from us; none on generation ranks.
  receiver_list receivers;
};

/// A context rank as its directory described it, and what a generation rank pulls from it.
struct source_contact {
  rank_info rank;
  std::shared_ptr<const rank_pair> pair; ///< null if nobody of its dp group pulls from it
};

/// Decides, on a generation rank, whether who introduced itself is the context rank that was
/// meant.
///
/// @returns `peer_lost` for another life, `incompatible_layout` for another layout than described.
[[nodiscard]] expected<acquaintance> acquaint(const own_instance& own, const source_contact& told,
                                              const introduction& intro);

} // namespace baton
