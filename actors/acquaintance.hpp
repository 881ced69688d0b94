#pragma once

#include <cstdint>
#include <vector>

#include "messages/wire.hpp"
#include "transport/seam/data_plane.hpp"

namespace baton {

/// What a rank works out about a peer when they are introduced.
struct acquaintance {
  peer_card card;
  std::uint64_t digest = 0; ///< of the peer's instance
  /// Ranks of the peer's dp group that pull from us; none on generation ranks.
  std::vector<std::uint32_t> receivers;
};

/// Decides whether two ranks can work together, and what moves between them.
///
/// @returns `invalid_argument` when both are of one side, `incompatible_layout` with the field and
/// both values.
[[nodiscard]] expected<acquaintance> acquaint(const instance_info& own, std::uint32_t own_rank,
                                              const instance_info& theirs,
                                              std::uint32_t their_rank);

} // namespace baton
