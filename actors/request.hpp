#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "gpu/event.hpp"
#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/state.hpp"
#include "messages/wire.hpp"
#include "transport/seam/data_plane.hpp"

namespace baton {

/// Time that a request may take, unless the caller says otherwise.
inline constexpr std::chrono::milliseconds default_timeout{60'000};

/// How long the ranks of a request may take to have their tickets for it.
inline constexpr std::chrono::milliseconds default_ticket_wait{100};
inline constexpr std::chrono::milliseconds longest_ticket_wait{2'000};

/// A piece of a request's cache that is ready on a context rank, to be offered to the generation
/// side: a range of tokens, in a range of layers.
///
/// The first slice of a request starts at token 0 and at layer 0. After it, slices may come in any
/// order of layers, but in each layer the tokens follow without a gap; all layers have the same
/// tokens once the last slice is there. So a prefill may offer by tokens, by layers, or layers of
/// each chunk of tokens. Of a pp instance each rank may be offered the same slices: of a slice it
/// takes the layers that it holds, maybe none.
struct send_slice {
  request_id request{};
  /// The tokens that became ready, in every group.
  token_range tokens{};
  /// Whether the request's cache is complete with this slice.
  bool last = true;
  /// Where the tokens lie: one table per group of this rank that has layers in the slice. Leading
  /// blocks that no receiver wants may be left out: a sliding window has passed them, or the
  /// receivers have them cached. State is final, and read as a whole, with the last slice, whatever
  /// its layers: its table is needed then, and may be left out before. Each table of each slice has
  /// a tail for every beam but the first.
  std::vector<group_blocks> blocks{};
  /// Goes with the last slice.
  std::optional<aux_data> aux;
  /// From the first slice of the request on until its end; ignored on later slices.
  std::chrono::milliseconds timeout = default_timeout;
  /// The GPU work that fills the blocks: no peer may read them before it is complete. If it fails,
  /// the request ends as `gpu_failed`. Empty: the blocks are filled. The event must neither be
  /// destroyed nor be recorded anew before the request has ended.
  gpu_event_ref after{};
  /// The layers that became ready, by global numbers; all of this rank unless told otherwise.
  layer_range layers{};
  /// Whether the blocks are wanted back before the request has ended: `released_slices` names the
  /// slice once every receiver has read it, and from then on these tokens of these layers may be
  /// rewritten, though not unmapped. (A block that holds parts of several slices is free when all
  /// of them are released.) The price: a receiver that lost what it had read, or took another's
  /// place, cannot read it again, and the request ends as `lease_revoked`.
  bool early_release = false;
};

/// A slice of a live request that every receiver has read.
struct released_slice {
  request_id request{};
  std::uint32_t slice = 0; ///< counted from 0 in the order in which they were offered

  friend bool operator==(const released_slice&, const released_slice&) = default;
};

/// A request that the generation side is to ask for before a context rank computes it.
struct context_request {
  request_id request{};
  /// From the call until the first slice is offered; from then on `send_slice::timeout` counts.
  std::chrono::milliseconds timeout = default_timeout;
};

/// A request that was not taken in.
struct refused_request {
  request_id request{};
  error reason{};
};

/// What `prepare_context_requests` answers.
struct preparation {
  /// May be computed now: each rank that pulls them from here has asked. Each is named once.
  std::vector<request_id> ready{};
  std::vector<refused_request> refused{}; ///< of this call
};

/// A request whose cache a generation rank wants.
struct receive_request {
  request_id request{};
  disaggregated_params context{};  ///< from the context side, by way of the router
  std::uint32_t tokens = 0;        ///< length of the prompt
  std::uint32_t cached_tokens = 0; ///< leading tokens that this rank has already; not written
  /// Where the tokens go: one table per group of this rank. With beams each has their tails, and
  /// what lies before a tail is written once, into the blocks of beam 0. State goes into its slot
  /// unless all tokens are cached.
  std::vector<group_blocks> blocks{};
  std::chrono::milliseconds timeout = default_timeout;
  /// The GPU work that still uses the blocks: nothing is written into them before it is complete.
  /// Otherwise as in `send_slice`.
  gpu_event_ref after{};
};

/// What came of `receive_request::context.ticket` at one source.
enum class ticket_use : std::uint8_t {
  none,    ///< there was no ticket
  used,    ///< nothing had to be asked for
  refused, ///< it was stale, or had not all that was wanted: the rest was asked for
};

/// What one source contributed.
struct source_report {
  std::uint32_t rank = 0;
  lane_choice lane{};
  std::uint64_t bytes = 0;
  ticket_use ticket = ticket_use::none;
};

/// How a request ended on this rank.
struct outcome {
  request_id request{};
  request_state state = request_state::trans_error;
  session_state session = session_state::error;
  std::optional<error> failure; ///< set unless the request completed
  std::optional<aux_data> aux;  ///< on a completed receive
  std::uint64_t bytes = 0;      ///< payload that this rank read
  std::uint64_t fragments = 0;
  std::uint32_t templates = 0;
  std::vector<source_report> sources{}; ///< receives only
  std::chrono::microseconds waited{0};  ///< from the call to the first grant or ticket
  std::chrono::microseconds pulling{0}; ///< from the first grant to the last validated byte
  std::chrono::microseconds total{0};   ///< from the call to the end
  std::uint32_t attempts = 0;
  /// All ranks of the instance report the same end, in the same call; false without agreement (see
  /// `agreement_options`), and when the others could not be asked.
  bool agreed = false;

  [[nodiscard]] bool completed() const noexcept {
    return state == request_state::context_complete ||
           state == request_state::generation_trans_complete;
  }
};

} // namespace baton
