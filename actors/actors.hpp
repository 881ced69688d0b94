#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <caf/all.hpp>

#include "actors/request.hpp"
#include "actors/session.hpp"
#include "actors/transceiver.hpp"
#include "actors/type_ids.hpp"
#include "messages/agreement.hpp"

/// The map of the system: every actor's interface. An engine that is made of actors itself talks to
/// `transceiver_actor`; errors come as `caf::error` of the category "baton" (see
/// actors/caf_error.hpp).
namespace baton {

/// One end of a link between two ranks.
using link_actor = caf::typed_actor<
    // Takes an encoded `wire_message` of the other end.
    caf::reacts_to<atom::deliver, std::string>,
    // The other end, which introduced itself, is up: it can be read from.
    caf::reacts_to<atom::ready>,
    // INTERNAL: this rank wants to read from the other end.
    caf::reacts_to<atom::pull>,
    // INTERNAL: begins to accept; answers our introduction and this end of the link when it is
    // ready.
    caf::replies_to<atom::start>::with<std::string, caf::strong_actor_ptr>,
    // INTERNAL: the data plane is ready for the peer, or not.
    caf::reacts_to<atom::ready, expected<lane_choice>>,
    // INTERNAL: time to look whether the peer is back.
    caf::reacts_to<atom::retry>>;

/// A rank's published actor: all that other processes can reach of it.
using door_actor = caf::typed_actor<
    // Answers the rank's incarnation.
    caf::replies_to<atom::who>::with<std::uint64_t>,
    // Takes an encoded `introduction` and the other end of a new link (a `link_actor`, untyped
    // because CAF cannot carry handles of a typed actor without registering each); answers our own
    // ones.
    caf::replies_to<atom::introduce, std::string,
                    caf::strong_actor_ptr>::with<std::string, caf::strong_actor_ptr>,
    // Directory: takes an encoded `rank_info`. Another life of a rank replaces the one before.
    caf::reacts_to<atom::enlist, std::string>,
    // Directory: answers the encoded `instance_info` once all ranks are enlisted.
    caf::replies_to<atom::describe>::with<std::string>,
    // Directory: takes an encoded `agreement_vote`. The encoded verdict goes to the sender, as a
    // message of its own (`member_actor`).
    caf::reacts_to<atom::agree, std::string>,
    // Directory: answers the encoded `request_ticket` of all ranks that compute a request, which
    // the given rank does; waits for each of them at most so many ms.
    caf::replies_to<atom::collect, std::uint32_t, std::uint64_t, std::uint64_t>::with<std::string>>;

/// Who speaks for a rank to its directory: enlists it, votes for it, and is asked by it.
using member_actor = caf::typed_actor<
    // Takes an encoded `agreement_verdict`.
    caf::reacts_to<atom::agreed, std::string>,
    // Answers the encoded `request_ticket` of the rank for a request; waits at most so many ms for
    // the request to be ready for that.
    caf::replies_to<atom::ticket, std::uint64_t, std::uint64_t>::with<std::string>>;

/// A send or receive session: the shell of a `send_protocol` or a `receive_protocol`.
using session_actor = caf::typed_actor<
    // Begins to work. Sent once by the transceiver.
    caf::reacts_to<atom::start>,
    // Passes on what concerns the session's request.
    caf::reacts_to<session_input>,
    // INTERNAL: the data plane ended the pull of (source rank, slice).
    caf::reacts_to<atom::pulled, std::uint32_t, std::uint32_t, expected<pull_stats>>,
    // INTERNAL: the GPU event of a slice is complete, or the work before it failed.
    caf::reacts_to<atom::filled, std::uint32_t, expected<>>,
    // Ends the session without a report.
    caf::reacts_to<atom::stop>>;

/// The supervisor of one rank.
using transceiver_actor = caf::typed_actor<
    // -- the engine's calls; `transceiver` says what they mean ----
    //
    // Context: offers a slice; answered when it is accepted.
    caf::reacts_to<atom::offer, send_slice>,
    // Context: takes in requests that the generation side is to ask for first; answers those that
    // it has asked for since the last answer.
    caf::replies_to<atom::prepare, std::vector<context_request>>::with<preparation>,
    // Context: answers the parameters of a request, with its ticket if all ranks have theirs within
    // so many ms.
    caf::replies_to<atom::params, request_id, std::int64_t>::with<disaggregated_params>,
    // Context: answers the slices that were released early since the last answer.
    caf::replies_to<atom::released>::with<std::vector<released_slice>>,
    // Generation: receives; answered with the outcome when the request has ended.
    caf::replies_to<atom::receive, receive_request>::with<outcome>,
    // Generation: starts a receive; answered when it is accepted.
    caf::reacts_to<atom::begin, receive_request>,
    // Offers blocks; answers the offer that now stands.
    caf::replies_to<atom::offer, block_offer>::with<standing_offer>,
    // Takes an offer back; answers true when its blocks are safe to rewrite.
    caf::replies_to<atom::withdraw, offer_id>::with<bool>,
    // Takes blocks from an offer; answered when that has ended.
    caf::replies_to<atom::pull, block_pull>::with<block_outcome>,
    // Answers the ended requests of the side once there are that many, or all that are live now
    // have ended (negative: only then).
    caf::replies_to<atom::fetch, std::uint8_t, std::int64_t>::with<std::vector<outcome>>,
    // Cancels; answers true when the request's blocks are safe to free.
    caf::replies_to<atom::cancel, request_id>::with<bool>,
    // Answers the request's state.
    caf::replies_to<atom::state, request_id>::with<std::optional<request_state>>,
    // Answers with the outcomes that nobody has fetched, whatever other ranks say of them.
    caf::replies_to<atom::unfetched>::with<std::vector<outcome>>,
    // Answers counts.
    caf::replies_to<atom::stats>::with<transceiver::statistics>,
    // Refuses new work from now on.
    caf::reacts_to<atom::refuse>,
    // Ends all live requests with `shutting_down`.
    caf::reacts_to<atom::end_all>,
    // Ends the rank's actors; whatever is still open is answered with `shutting_down`.
    caf::reacts_to<atom::stop>,
    // -- INTERNAL ----
    //
    // The door is published at host:port: enlist with the directory, begin to sweep.
    caf::reacts_to<atom::start, std::string>,
    // A session's report.
    caf::reacts_to<atom::report, session_key, session_report>,
    // The data plane ended a pull that is no session's.
    caf::reacts_to<atom::pulled, session_key, expected<pull_stats>>,
    // The data plane retired a session.
    caf::reacts_to<atom::retired, session_key>,
    // A message from a peer, by way of its link.
    caf::reacts_to<peer_message>,
    // A link's fate.
    caf::reacts_to<link_event>,
    // A directory answered.
    caf::reacts_to<atom::describe, std::string, expected<instance_info>>,
    // One answered that was asked for pulls of blocks.
    caf::reacts_to<atom::describe, atom::pull, std::string, expected<instance_info>>,
    // What the ranks of this instance agree on, or why they cannot be asked.
    caf::reacts_to<atom::agreed, expected<agreement_verdict>>,
    // The directory wants this rank's ticket; by way of the `member_actor`.
    caf::replies_to<atom::ticket, std::uint64_t, std::uint64_t>::with<std::string>,
    // A peer knocks; by way of the door.
    caf::replies_to<atom::introduce, std::string,
                    caf::strong_actor_ptr>::with<std::string, caf::strong_actor_ptr>,
    // Time to look after deadlines.
    caf::reacts_to<atom::sweep>>;

/// The other door: a rank's transceiver as an actor, for engines that are made of actors.
struct actor_access {
  /// Returns the actor behind a facade. It ends when the facade is shut down.
  [[nodiscard]] static transceiver_actor of(const transceiver& rank);
};

} // namespace baton
