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

/// A rank as its directory described it: a context rank and what a generation rank pulls from it,
/// or one of the same role, whose blocks are read.
struct source_contact {
  rank_info rank;
  /// Null if nobody of its dp group pulls from it, or if it is of the same role.
  std::shared_ptr<const rank_pair> pair;
};

/// Decides, on a rank that introduced itself, whether who answers is the rank that was meant.
///
/// @returns `peer_lost` for another life, `incompatible_layout` for another layout than described.
[[nodiscard]] expected<acquaintance> acquaint(const own_instance& own, const source_contact& told,
                                              const introduction& intro);

/// Decides whether this rank and one of the same role can work together. They do so only to read
/// each other's blocks, without a request (`introduction::for_blocks`): all that both hold, in
/// either direction.
///
/// @returns `invalid_argument` for a rank of the other role or for this one itself,
///          `incompatible_layout` with the field and both values.
[[nodiscard]] expected<acquaintance> acquaint_alike(const own_instance& own, const rank_info& peer);

} // namespace baton
