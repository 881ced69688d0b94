#pragma once

#include "actors/rank_context.hpp"

namespace baton {

/// Spawns the shell of a `receive_protocol` or a `send_protocol`: it carries the protocol's
/// messages to the links, its pulls and grants to the data plane, and its reports to `owner`, who
/// monitors it. It works from `atom::start` on, and ends itself after its last report. A protocol
/// that throws ends it with the exception's text as the reason.
[[nodiscard]] session_actor spawn_session(transceiver_actor::pointer owner, rank_context_ptr rank,
                                          receive_spec spec);
[[nodiscard]] session_actor spawn_session(transceiver_actor::pointer owner, rank_context_ptr rank,
                                          send_spec spec);

} // namespace baton
