#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "messages/error.hpp"
#include "messages/wire.hpp"

/// Grants that go with the parameters of a request, so that its receivers need not ask first.
///
/// A ticket says nothing that is still true when it is read: the leases in it do, or do not,
/// validate what was read under them, as any lease does.
namespace baton {

/// Limit of an encoded ticket. A request whose ticket is larger has none.
inline constexpr std::size_t ticket_bytes = 60u << 10;

/// Tokens of some layers of one group that a slice grants, and where they lie.
struct ticket_range {
  std::uint32_t table = 0; ///< index into `request_ticket::tables`; names the group as well
  token_range tokens{};
  layer_range layers{};

  friend bool operator==(const ticket_range&, const ticket_range&) = default;
};

/// One slice: whoever holds the ticket may read it.
struct ticket_slice {
  lease right{};
  std::vector<ticket_range> ranges{}; ///< a group at most once

  friend bool operator==(const ticket_slice&, const ticket_slice&) = default;
};

/// What one context rank grants: all slices of its part of the request, in their order.
struct rank_ticket {
  std::uint32_t rank = 0;
  incarnation life{};
  offer_id offer{};
  std::vector<ticket_slice> slices{};
  std::optional<std::uint32_t> aux{}; ///< index into `request_ticket::aux`
  bool aux_left_out = false;          ///< there is some, which was too large: ask for it

  friend bool operator==(const rank_ticket&, const rank_ticket&) = default;
};

/// What the context ranks of a request grant to whoever holds this.
struct request_ticket {
  request_id request{};
  std::vector<group_blocks> tables{}; ///< of all ranks; equal ones once
  std::vector<aux_data> aux{};        ///< likewise
  std::vector<rank_ticket> ranks{};   ///< each once

  friend bool operator==(const request_ticket&, const request_ticket&) = default;
};

/// Adds the ranks of another ticket of the same request.
///
/// @returns `invalid_argument` if it is of another request, or a rank is in both.
[[nodiscard]] expected<> add(request_ticket& to, const request_ticket& more);

/// Serializes as `baton.wire.Ticket`.
[[nodiscard]] std::string encode(const request_ticket& ticket);

/// Serializes, and leaves the aux data out if they do not fit into `ticket_bytes`.
///
/// @returns `out_of_resources` if the rest does not fit either.
[[nodiscard]] expected<std::string> encode_within_limit(request_ticket ticket);

/// Parses and checks a ticket. Never throws. Any damage is found (but for one in 2^64).
///
/// @returns `invalid_argument` with a text that names the field.
[[nodiscard]] expected<request_ticket> decode_ticket(std::string_view bytes);

} // namespace baton
