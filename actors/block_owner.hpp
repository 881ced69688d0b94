#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "actors/acquaintance.hpp"
#include "actors/own_instance.hpp"
#include "messages/wire.hpp"

namespace baton {

/// A rank from which this rank reads blocks that are no request's.
struct block_owner {
  source_contact contact; ///< without a pair if it is of the same role
  /// Groups of this rank whose heads and layers all come from that one.
  std::vector<std::string> whole;
};

/// Finds an owner in its instance, and decides what can be read from it: of one role all that both
/// hold, of a context rank this pair's share, as in a request.
///
/// @returns `peer_lost` if the rank has another life, `incompatible_layout` with the field and both
///          values, `invalid_argument` if nothing of it is read by this rank.
[[nodiscard]] expected<block_owner> find_owner(const own_instance& own,
                                               const instance_info& instance, std::uint32_t rank,
                                               incarnation life);

} // namespace baton
