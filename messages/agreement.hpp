#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "messages/error.hpp"
#include "messages/ids.hpp"

namespace baton {

/// What the ranks of an instance agree on. The numbers are part of the wire format.
enum class agreement_topic : std::uint8_t {
  ended = 1, ///< requests that every rank has completed, or that one has failed
  ready = 2, ///< prepared requests that every rank was asked for
};

inline constexpr agreement_topic agreement_topics[] = {agreement_topic::ended,
                                                       agreement_topic::ready};

/// Where a topic stands among `agreement_topics`.
[[nodiscard]] constexpr std::size_t index_of(agreement_topic topic) noexcept {
  return static_cast<std::size_t>(topic) - 1;
}

/// Limits that every decoded message must keep.
namespace agreement_limits {
inline constexpr std::size_t items = 16'384;   ///< of one message; the rest goes with the next
inline constexpr std::size_t text_bytes = 512; ///< longer error texts are cut when encoded
inline constexpr std::size_t message_bytes = 12u << 20;
} // namespace agreement_limits

/// A request that came as far as the topic says.
struct agreement_item {
  request_id request{};
  std::optional<error> failure; ///< why it ended; only of `agreement_topic::ended`
  /// In a vote: how long the request may still take on the other ranks.
  std::chrono::milliseconds remaining{0};

  friend bool operator==(const agreement_item&, const agreement_item&) = default;
};

/// Rank to directory: "this is my n-th call, and this is what I know". A newer vote of the same
/// round replaces the older.
struct agreement_vote {
  /// `at_least` of a call that waits for all.
  static constexpr std::uint32_t all = std::numeric_limits<std::uint32_t>::max();

  incarnation life{};
  std::uint32_t rank = 0;
  agreement_topic topic = agreement_topic::ended;
  std::uint64_t round = 1;                ///< counts the calls of this rank, from 1
  std::uint64_t seen = 0;                 ///< `agreement_verdict::seen` of the last one that it has
  std::uint64_t attempt = 1;              ///< counts the votes of this rank
  std::vector<agreement_item> items{};    ///< that the directory is not known to know
  std::uint32_t at_least = 0;             ///< the call waits for so many, or until
  bool open = false;                      ///< none that it waits for is live on this rank, and
  std::chrono::milliseconds remaining{0}; ///< at most so long

  friend bool operator==(const agreement_vote&, const agreement_vote&) = default;
};

/// Directory to rank: what all ranks agree on since the last verdict that the rank has seen.
struct agreement_verdict {
  agreement_topic topic = agreement_topic::ended;
  std::uint64_t round = 1;   ///< as in the vote
  std::uint64_t seen = 0;    ///< up to which round of the directory's it says all
  std::uint64_t attempt = 1; ///< the last vote of this rank that is known
  std::vector<agreement_item> items{};

  friend bool operator==(const agreement_verdict&, const agreement_verdict&) = default;
};

[[nodiscard]] std::string encode(const agreement_vote& vote);
[[nodiscard]] std::string encode(const agreement_verdict& verdict);

/// Parses and checks a message. Never throws.
///
/// @returns `invalid_argument` with a text that names the field.
[[nodiscard]] expected<agreement_vote> decode_vote(std::string_view bytes);
[[nodiscard]] expected<agreement_verdict> decode_verdict(std::string_view bytes);

} // namespace baton
