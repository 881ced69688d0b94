#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/layout.hpp"

namespace baton {

/// The version of the session protocol; unequal versions refuse each other at introduction.
inline constexpr std::uint32_t protocol_version = 1;

/// Limits that every decoded message must keep.
namespace wire_limits {
inline constexpr std::size_t message_bytes = 16u << 20;
inline constexpr std::size_t blocks = 1u << 20; ///< per group and slice, of all beams
inline constexpr std::size_t beams = 64;        ///< per request
inline constexpr std::size_t slices = 1u << 16; ///< per request
inline constexpr std::size_t tokens = 1u << 30; ///< per request
inline constexpr std::size_t aux_bytes = 1u << 20;
inline constexpr std::size_t text_bytes = 4096; ///< longer error texts are cut when encoded
inline constexpr std::size_t manifest_bytes = 64u << 10;
/// Longer times are cut to this when encoded, negative ones to 0.
inline constexpr std::chrono::hours remaining{7 * 24};
} // namespace wire_limits

/// The right to read the blocks of one slice, until it is returned or revoked. Odd epochs only.
struct lease {
  incarnation owner{};
  std::uint32_t slot = 0;
  std::uint64_t epoch = 0;

  friend bool operator==(const lease&, const lease&) = default;
};

/// How ranges name the slot of a group of state: as if it held one token. It travels with the last
/// slice of a request, since it is final only then.
inline constexpr token_range state_slot{0, 1};

/// The tokens of one group that a receiver wants, or that a slice offers; of state, `state_slot`.
struct group_range {
  std::string group{};
  token_range tokens{};
  /// For each beam but the first: the token from which on the receiver has blocks of its own. What
  /// lies before it the beam shares with beam 0. A grant repeats what was asked for.
  std::vector<std::uint32_t> tails{};
  /// The layers of which this is said. Receivers want all; a slice may offer fewer, but of state
  /// always all.
  layer_range layers{};

  friend bool operator==(const group_range&, const group_range&) = default;
};

/// The blocks of a beam that are its own: `blocks[i]` holds its tokens from
/// `first_block_token + i * tokens_per_block` on. Earlier tokens lie in the blocks of beam 0. Of a
/// slice that ends earlier, or of a beam that shares all, it has no blocks.
struct beam_tail {
  std::uint32_t first_block_token = 0; ///< a multiple of the group's tokens_per_block
  std::vector<std::uint32_t> blocks{};

  friend bool operator==(const beam_tail&, const beam_tail&) = default;
};

/// Where the tokens of one group lie: `blocks[i]` holds the tokens from `first_block_token + i *
/// tokens_per_block` on. A group of state has one block, from token 0.
struct group_blocks {
  std::string group{};
  std::uint32_t first_block_token = 0; ///< a multiple of the group's tokens_per_block
  std::vector<std::uint32_t> blocks{}; ///< slots of the owner's pools
  /// Of beam search: the beams after beam 0, whose table this is. Both sides must have as many.
  /// Block sizes, and so the tokens that are shared, may differ: what the receiver shares comes
  /// from beam 0 of the source, what it does not from the beam's tail or, before that, from beam 0.
  std::vector<beam_tail> tails{};

  friend bool operator==(const group_blocks&, const group_blocks&) = default;
};

/// What goes along with a request's cache: at most `wire_limits::aux_bytes` in all.
struct aux_data {
  std::vector<std::int32_t> first_tokens{};
  std::vector<std::int32_t> draft_tokens{};
  std::string opaque{};

  [[nodiscard]] std::size_t bytes() const noexcept {
    return 4 * (first_tokens.size() + draft_tokens.size()) + opaque.size();
  }
  friend bool operator==(const aux_data&, const aux_data&) = default;
};

/// Receiver to source: "give me these tokens of this request". A newer one of the same receiver
/// replaces the older. If the request is not known yet, it waits at the source for at most
/// `remaining`.
struct pull_request {
  request_id request{};
  pull_id pull{};
  std::uint32_t receiver_rank = 0;
  std::uint64_t layout_digest = 0;   ///< of the receiver's instance, as introduced
  std::uint32_t receivers = 0;       ///< how many ranks pull this request from this source
  std::vector<group_range> wants{};  ///< per group that both hold; may be empty ranges
  std::vector<std::uint32_t> have{}; ///< slices validated in an earlier attempt, not sent again
  offer_id have_offer{};  ///< whose slices `have` counts; another offer sends all of its own
  bool wants_aux = false; ///< whether this source is the one to send the aux data
  std::chrono::milliseconds remaining{0};
  /// The receiver holds the source's ticket and is reading by it: the lease of its first slice. A
  /// source whose ticket that is grants nothing more, any other one what is asked for.
  std::optional<lease> ticket{};

  friend bool operator==(const pull_request&, const pull_request&) = default;
};

/// Receiver to a source from which no rank of its instance pulls: "you are done with this request".
struct nothing_to_pull {
  request_id request{};
  pull_id pull{};
  std::uint32_t receiver_rank = 0;
  std::chrono::milliseconds remaining{0};

  friend bool operator==(const nothing_to_pull&, const nothing_to_pull&) = default;
};

/// Source to receiver: one slice is ready and may be read under `right`.
struct slice_grant {
  request_id request{};
  pull_id pull{};
  offer_id offer{};
  std::uint32_t slice = 0;
  bool last = false;
  std::vector<group_range> ranges{};  ///< granted: what is wanted of the slice's tokens and layers
  std::vector<group_blocks> blocks{}; ///< the source's blocks of `ranges`, same groups, same order
  lease right{};
  std::optional<aux_data> aux; ///< only from the one source that carries it, with the last slice

  friend bool operator==(const slice_grant&, const slice_grant&) = default;
};

/// Receiver to source: every wanted byte of the slice was read and validated.
struct slice_done {
  request_id request{};
  pull_id pull{};
  offer_id offer{};
  std::uint32_t slice = 0;

  friend bool operator==(const slice_done&, const slice_done&) = default;
};

/// Receiver to source: the slice could not be read; the receiver may ask again. If it was read by a
/// ticket, it asks with this: what the source has granted it meanwhile stays granted.
struct slice_failed {
  request_id request{};
  pull_id pull{};
  offer_id offer{};
  std::uint32_t slice = 0;
  error reason{};
  bool by_ticket = false;

  friend bool operator==(const slice_failed&, const slice_failed&) = default;
};

/// Either side: the request ends here. A receiver names its pull; a source names the pull it
/// answers. A message whose pull is not the current one is dropped; a source remembers it, since it
/// may have overtaken the pull request.
struct cancel_notice {
  request_id request{};
  pull_id pull{};
  error reason{};
  /// Of a receiver that has not asked this source and will not; `pull` says nothing.
  bool unasked = false;

  friend bool operator==(const cancel_notice&, const cancel_notice&) = default;
};

/// All messages between the sessions of two ranks.
using wire_message = std::variant<pull_request, nothing_to_pull, slice_grant, slice_done,
                                  slice_failed, cancel_notice>;

/// Returns the request that a message speaks of.
[[nodiscard]] request_id request_of(const wire_message& message) noexcept;

/// Serializes as `baton.wire.Envelope`.
[[nodiscard]] std::string encode(const wire_message& message);

/// Parses and checks a message: limits, counts, ranges, enumerators, odd epochs. Never throws.
///
/// @returns `invalid_argument` with a text that names the field.
[[nodiscard]] expected<wire_message> decode_message(std::string_view bytes);

/// What the directory of an instance knows of one rank: how to reach it and what it holds.
struct rank_info {
  rank_layout layout{};
  std::string host{}; ///< of the rank's control endpoint
  std::uint16_t port = 0;
  std::string manifest{}; ///< how to reach its data plane; opaque here, at most `manifest_bytes`

  friend bool operator==(const rank_info&, const rank_info&) = default;
};

/// All ranks of one instance, in rank order.
struct instance_info {
  std::vector<rank_info> ranks{};

  [[nodiscard]] std::vector<rank_layout> layouts() const;
  friend bool operator==(const instance_info&, const instance_info&) = default;
};

/// The first words of a rank to another: who it is, and of which instance.
struct introduction {
  std::uint32_t version = protocol_version;
  std::string ucx_version{};
  rank_info self{};
  std::uint64_t digest = 0; ///< of the sender's instance
  /// The sender's instance, encoded. Left out unless the other side has asked for it: many ranks of
  /// one instance introduce themselves.
  std::string instance{};
  bool wants_instance = false; ///< an answer: introduce yourself again, with your instance
  /// To a rank of the same role: the two are to read each other's blocks, without a request.
  bool for_blocks = false;

  friend bool operator==(const introduction&, const introduction&) = default;
};

[[nodiscard]] std::string encode(const rank_info& info);
[[nodiscard]] expected<rank_info> decode_rank_info(std::string_view bytes);

/// What ranks have in common is written once: an instance takes about as many bytes as the layouts
/// of one rank of each pipeline stage, and some dozens for each rank.
[[nodiscard]] std::string encode(const instance_info& info);

/// Parses, and validates every layout and the instance as a whole.
[[nodiscard]] expected<instance_info> decode_instance_info(std::string_view bytes);

/// Parses the ranks of an instance, or of one dp group of it (none if there is no such group), in
/// rank order. Only for what was decoded or encoded here: it trusts the bytes, and takes as long as
/// what it returns is large.
[[nodiscard]] std::vector<rank_info>
read_ranks(std::string_view encoded, std::optional<std::uint32_t> dp_rank = std::nullopt);
[[nodiscard]] std::string encode(const introduction& intro);

/// Parses, and validates the sender's layout; `instance` is left as it is. The versions are left to
/// the caller, who knows its own; a message of another protocol version is decoded as far as
/// `version` and nothing else.
[[nodiscard]] expected<introduction> decode_introduction(std::string_view bytes);

struct request_ticket;

/// What a router hands from the context side to the generation side.
struct disaggregated_params {
  std::string endpoint{}; ///< host:port of the context instance's directory
  std::uint32_t dp_rank = 0;
  /// Grants of one request (messages/ticket.hpp); null: its receivers ask.
  std::shared_ptr<const request_ticket> ticket{};

  /// Compares what the tickets say.
  friend bool operator==(const disaggregated_params& a, const disaggregated_params& b);
};

} // namespace baton
