#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace baton {

/// Where a request stands, in the words of the field. `context_init` and `context_wait_scheduler`
/// belong to the workflows in which the generation side asks first.
enum class request_state : std::uint8_t {
  context_init,
  context_wait_scheduler,
  context_trans_in_progress,
  context_complete,
  generation_trans_in_progress,
  generation_trans_complete,
  trans_error,
};

/// Returns the field's spelling, e.g. "GENERATION_TRANS_COMPLETE".
[[nodiscard]] std::string_view to_string(request_state state) noexcept;

/// Parses the field's spelling.
[[nodiscard]] std::optional<request_state> parse_request_state(std::string_view text) noexcept;

/// Whether a request in this state has ended for this rank.
[[nodiscard]] constexpr bool terminal(request_state state) noexcept {
  return state == request_state::context_complete ||
         state == request_state::generation_trans_complete || state == request_state::trans_error;
}

/// Where a session stands.
///
///     init -> ready -> transferring -> kv_transferred -> fully_transferred
///       \________\___________\______________\__________-> error | cancelled
enum class session_state : std::uint8_t {
  init,
  ready,
  transferring,
  kv_transferred,
  fully_transferred,
  error,
  cancelled,
};

/// Returns the field's spelling, e.g. "KV_TRANSFERRED".
[[nodiscard]] std::string_view to_string(session_state state) noexcept;

} // namespace baton
