#pragma once

#include <string>
#include <vector>

#include "actors/request.hpp"
#include "actors/session.hpp"
#include "messages/ticket.hpp"
#include "transport/seam/data_plane.hpp"

/// Both ends of a ticket: what a source puts into it, and what a receiver takes out. The grants of
/// a ticket are those that asking would have brought, but for the tails of beams, which are the
/// receiver's own, and for the lease, which is nobody's in particular.
namespace baton {

/// What of a slice a ticket grants: all that it offers.
///
/// @param states  groups that hold state.
[[nodiscard]] grant_spec bearer_grant(const send_slice& slice,
                                      const std::vector<std::string>& states);

/// Adds the next slice to the ticket of the one rank in it.
void add_slice(request_ticket& ticket, grant_spec granted, const lease& right);

/// The grants that a ticket holds for one receiver of one source. None if the ticket is of another
/// request or of another life of the source, has not all that is wanted of it, has other beams, or
/// lacks the aux data that this receiver gets from the source: then it has to ask.
[[nodiscard]] std::vector<slice_grant> grants_of(const request_ticket& ticket, request_id request,
                                                 pull_id pull, const source_route& source,
                                                 const std::vector<group_range>& wants);

} // namespace baton
