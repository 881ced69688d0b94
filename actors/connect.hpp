#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include <caf/all.hpp>
#include <caf/io/middleman.hpp>

#include "actors/caf_error.hpp"
#include "actors/rank_context.hpp"
#include "actors/tls.hpp"

namespace baton {

/// How long one attempt to connect or one question to a door may take.
inline constexpr std::chrono::milliseconds door_timeout{2'000};

/// Splits host:port. @returns `invalid_argument` for anything else.
[[nodiscard]] expected<std::pair<std::string, std::uint16_t>>
split_endpoint(const std::string& endpoint);

/// What requests are told of a failed connection: only deadlines of their own time them out.
[[nodiscard]] inline error as_lost(error reason) {
  if (reason.code == errc::timed_out)
    reason.code = errc::peer_lost;
  return reason;
}

[[nodiscard]] inline tl::unexpected<error> lost_door(const caf::actor_system& system,
                                                     const std::string& endpoint) {
  if (has_tls(system))
    return fail(errc::peer_lost,
                "nobody listens at {}, or one of the two does not accept the other's certificate",
                endpoint);
  return fail(errc::peer_lost, "nobody listens at {}, or only with TLS", endpoint);
}

/// Connects to the door at host:port and calls `done` with it, or with an error: `peer_lost` when
/// nobody listens there, `timed_out`, `invalid_argument` for an endpoint that is none. Never
/// blocks.
template <class Self, class Done>
void connect_door(Self* self, const rank_context& rank, const std::string& endpoint, Done done) {
  if (rank.local_door)
    if (auto door = rank.local_door(endpoint)) {
      done(expected<door_actor>{*door});
      return;
    }
  auto where = split_endpoint(endpoint);
  if (!where) {
    done(expected<door_actor>{fail(where.error())});
    return;
  }
  if (!self->system().has_middleman()) {
    done(expected<door_actor>{fail(errc::peer_lost, "no actor is published at {}", endpoint)});
    return;
  }
  self->request(connector_of(self->system()), door_timeout, caf::connect_atom::value, where->first,
                where->second)
      .then(
          [self, endpoint, done](const caf::node_id&, caf::strong_actor_ptr& ptr,
                                 const std::set<std::string>& interface) {
            const auto wanted = self->system().message_types(caf::detail::type_list<door_actor>{});
            if (!ptr || !self->system().assignable(interface, wanted))
              done(expected<door_actor>{fail(errc::version_mismatch,
                                             "what listens at {} is no baton rank of this version",
                                             endpoint)});
            else
              done(expected<door_actor>{caf::actor_cast<door_actor>(ptr)});
          },
          [self, endpoint, done](caf::error& err) {
            done(expected<door_actor>{err == caf::sec::request_timeout
                                          ? fail(errc::timed_out, "no connection to {} in {} ms",
                                                 endpoint, door_timeout.count())
                                          : lost_door(self->system(), endpoint)});
          });
}

} // namespace baton
