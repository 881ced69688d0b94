#pragma once

#include <string>
#include <utility>
#include <vector>

#include <caf/all.hpp>

#include "actors/block_offer.hpp"
#include "actors/request.hpp"
#include "actors/router.hpp"
#include "actors/session.hpp"
#include "actors/transceiver.hpp"
#include "messages/agreement.hpp"
#include "messages/error.hpp"

/// All that CAF must know of baton's types, in one place. Only strings, numbers and actor handles
/// cross nodes; the values below travel between actors of one process.

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::send_slice)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<baton::context_request>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::preparation)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<baton::released_slice>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::receive_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::disaggregated_params)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::outcome)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::vector<baton::outcome>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::block_offer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::standing_offer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::block_pull)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::block_outcome)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::offer_id)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::request_id)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::session_key)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::session_input)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::session_report)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::peer_message)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::link_event)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::expected<>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::expected<baton::pull_stats>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::expected<baton::lane_choice>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::expected<baton::instance_info>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::expected<baton::agreement_verdict>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(baton::transceiver::statistics)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(std::optional<baton::request_state>)

CAF_ERROR_CODE_ENUM(baton::errc, "baton")

CAF_BEGIN_TYPE_ID_BLOCK(baton, caf::first_custom_type_id)

// -- between ranks ----
CAF_ADD_ATOM(baton, baton::atom, introduce, "introduce")
CAF_ADD_ATOM(baton, baton::atom, deliver, "deliver")
CAF_ADD_ATOM(baton, baton::atom, enlist, "enlist")
CAF_ADD_ATOM(baton, baton::atom, describe, "describe")
CAF_ADD_ATOM(baton, baton::atom, who, "who")
CAF_ADD_ATOM(baton, baton::atom, agree, "agree")
CAF_ADD_ATOM(baton, baton::atom, agreed, "agreed")
CAF_ADD_ATOM(baton, baton::atom, ticket, "ticket")
CAF_ADD_ATOM(baton, baton::atom, collect, "collect")

// -- the engine's calls ----
CAF_ADD_ATOM(baton, baton::atom, offer, "offer")
CAF_ADD_ATOM(baton, baton::atom, prepare, "prepare")
CAF_ADD_ATOM(baton, baton::atom, params, "params")
CAF_ADD_ATOM(baton, baton::atom, released, "released")
CAF_ADD_ATOM(baton, baton::atom, withdraw, "withdraw")
CAF_ADD_ATOM(baton, baton::atom, pull, "pull")
CAF_ADD_ATOM(baton, baton::atom, receive, "receive")
CAF_ADD_ATOM(baton, baton::atom, begin, "begin")
CAF_ADD_ATOM(baton, baton::atom, fetch, "fetch")
CAF_ADD_ATOM(baton, baton::atom, cancel, "cancel")
CAF_ADD_ATOM(baton, baton::atom, state, "state")
CAF_ADD_ATOM(baton, baton::atom, unfetched, "unfetched")
CAF_ADD_ATOM(baton, baton::atom, stats, "stats")
CAF_ADD_ATOM(baton, baton::atom, refuse, "refuse")
CAF_ADD_ATOM(baton, baton::atom, end_all, "end_all")
CAF_ADD_ATOM(baton, baton::atom, stop, "stop")

// -- within a rank ----
CAF_ADD_ATOM(baton, baton::atom, report, "report")
CAF_ADD_ATOM(baton, baton::atom, retired, "retired")
CAF_ADD_ATOM(baton, baton::atom, pulled, "pulled")
CAF_ADD_ATOM(baton, baton::atom, filled, "filled")
CAF_ADD_ATOM(baton, baton::atom, sweep, "sweep")
CAF_ADD_ATOM(baton, baton::atom, start, "start")
CAF_ADD_ATOM(baton, baton::atom, retry, "retry")
CAF_ADD_ATOM(baton, baton::atom, ready, "ready")

CAF_END_TYPE_ID_BLOCK(baton)
