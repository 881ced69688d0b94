#include "actors/options.hpp"

#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "messages/wire.hpp"

namespace baton {

std::string_view to_string(probe_point point) noexcept {
  switch (point) {
  case probe_point::introduced:
    return "introduced";
  case probe_point::requested:
    return "requested";
  case probe_point::granted:
    return "granted";
  case probe_point::pulling:
    return "pulling";
  case probe_point::done:
    return "done";
  }
  return "unknown";
}

expected<> validate(const transceiver_options& options) {
  const std::pair<std::string_view, std::chrono::milliseconds> spans[] = {
      {"restarts.window", options.restarts.window},
      {"restarts.first_backoff", options.restarts.first_backoff},
      {"restarts.last_backoff", options.restarts.last_backoff},
      {"sweep", options.sweep},
      {"peer_grace", options.peer_grace},
      {"clean_up", options.clean_up},
      {"agreement.patience", options.agreement.patience},
      {"agreement.directory", options.agreement.directory},
  };
  for (const auto& [field, span] : spans)
    if (span.count() <= 0 || span > wire_limits::remaining)
      return fail(errc::invalid_argument, "options.{}: {} ms; 1 to {} are possible", field,
                  span.count(), std::chrono::milliseconds{wire_limits::remaining}.count());
  const std::pair<std::string_view, std::size_t> counts[] = {
      {"tombstones", options.tombstones},
      {"early_requests", options.early_requests},
      {"live_requests", options.live_requests},
  };
  for (const auto& [field, count] : counts)
    if (count == 0)
      return fail(errc::invalid_argument, "options.{}: 0; at least 1 is needed", field);
  return {};
}

expected<> validate(const rank_endpoint& endpoint, bool authenticated) {
  const auto& host = endpoint.host;
  in_addr address{};
  const bool loopback = host == "localhost" || host == "::1" ||
                        (::inet_pton(AF_INET, host.c_str(), &address) == 1 &&
                         ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET);
  if (loopback || authenticated || endpoint.trusted_network)
    return {};
  return fail(
      errc::invalid_argument,
      "endpoint.host: {} is no loopback address, and whoever reaches it can stop actors; "
      "use TLS (baton::configure_tls), or set endpoint.trusted_network if only trusted hosts can",
      host);
}

} // namespace baton
