#include "messages/state.hpp"

#include <array>
#include <utility>

namespace baton {
namespace {

constexpr std::array<std::pair<request_state, std::string_view>, 7> request_states{{
    {request_state::context_init, "CONTEXT_INIT"},
    {request_state::context_wait_scheduler, "CONTEXT_WAIT_SCHEDULER"},
    {request_state::context_trans_in_progress, "CONTEXT_TRANS_IN_PROGRESS"},
    {request_state::context_complete, "CONTEXT_COMPLETE"},
    {request_state::generation_trans_in_progress, "GENERATION_TRANS_IN_PROGRESS"},
    {request_state::generation_trans_complete, "GENERATION_TRANS_COMPLETE"},
    {request_state::trans_error, "TRANS_ERROR"},
}};

} // namespace

std::string_view to_string(request_state state) noexcept {
  for (auto [value, name] : request_states)
    if (value == state)
      return name;
  return "unknown";
}

std::optional<request_state> parse_request_state(std::string_view text) noexcept {
  for (auto [value, name] : request_states)
    if (name == text)
      return value;
  return std::nullopt;
}

std::string_view to_string(session_state state) noexcept {
  switch (state) {
  case session_state::init:
    return "INIT";
  case session_state::ready:
    return "READY";
  case session_state::transferring:
    return "TRANSFERRING";
  case session_state::kv_transferred:
    return "KV_TRANSFERRED";
  case session_state::fully_transferred:
    return "FULLY_TRANSFERRED";
  case session_state::error:
    return "ERROR";
  case session_state::cancelled:
    return "CANCELLED";
  }
  return "unknown";
}

} // namespace baton
