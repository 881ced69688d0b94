#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "actors/request.hpp"
#include "gpu/event.hpp"
#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/wire.hpp"
#include "transport/seam/data_plane.hpp"

/// Moving blocks between ranks without a request, e.g. those of a prefix cache between workers: one
/// rank offers, others pull.
namespace baton {

/// Blocks that a rank lets others read.
struct block_offer {
  /// The tokens of each group, and the layers if not all; a group at most once, without tails; of
  /// state, `state_slot`. Positions count: tokens [64, 128) of the offer go to tokens [64, 128) of
  /// whoever pulls.
  std::vector<group_range> ranges{};
  std::vector<group_blocks> blocks{}; ///< where they lie: same groups, same order, filled already
  std::chrono::milliseconds timeout = default_timeout; ///< then it is withdrawn
};

/// An offer that stands.
struct standing_offer {
  offer_id id{};       ///< to withdraw it
  std::string bytes{}; ///< to be handed to whoever shall pull, as they are
};

/// Blocks that a rank takes from an offer.
struct block_pull {
  std::string offer{}; ///< `standing_offer::bytes`
  /// Where the offered tokens go: a table for each group that is wanted, which must hold all of the
  /// group's offered tokens. Groups without a table are left out.
  std::vector<group_blocks> blocks{};
  std::chrono::milliseconds timeout = default_timeout;
  /// As `receive_request::after`.
  gpu_event_ref after{};
};

/// How a pull of blocks ended. The destination blocks are safe in any case.
struct block_outcome {
  std::optional<error> failure{}; ///< nullopt: all that was wanted is there, and was valid
  std::uint64_t bytes = 0;
  std::uint64_t fragments = 0;
  lane_choice lane{};
  /// Whether that is all that this rank holds of the wanted groups. If not (the source has other
  /// heads or layers), the rest lies with other ranks of its instance: pull their offers as well.
  bool whole = false;
  std::chrono::microseconds total{0};
};

/// Checks an offer against the rank's layout: known groups, each once, tables that hold the tokens,
/// aligned to blocks, ids within the pools, no beams.
///
/// @returns `invalid_argument`; the text names the field and the value.
[[nodiscard]] expected<> check(const rank_layout& layout, const block_offer& offer);
/// Checks a pull likewise, but for what the offer says.
[[nodiscard]] expected<> check(const rank_layout& layout, const block_pull& pull);

} // namespace baton
