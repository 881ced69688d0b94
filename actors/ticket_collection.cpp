#include "actors/ticket_collection.hpp"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "actors/caf_error.hpp"
#include "actors/connect.hpp"
#include "messages/ticket.hpp"

namespace baton {
namespace {

/// Tickets that are on their way.
struct collection {
  caf::typed_response_promise<std::string> promise;
  request_ticket all;
  std::size_t missing = 0;

  void take(const std::string& bytes) {
    auto ticket = decode_ticket(bytes);
    const auto joined = ticket ? add(all, *ticket) : expected<>{fail(ticket.error())};
    if (!joined)
      return give_up(to_caf(joined.error()));
    if (--missing != 0 || !promise.pending())
      return;
    auto whole = encode_within_limit(std::move(all));
    if (whole)
      promise.deliver(std::move(*whole));
    else
      promise.deliver(to_caf(whole.error()));
  }

  void give_up(caf::error reason) {
    if (promise.pending())
      promise.deliver(std::move(reason));
  }
};

} // namespace

caf::result<std::string> collect_tickets(directory_actor::pointer self,
                                         const directory_state& directory, std::uint32_t asker,
                                         request_id request, std::chrono::milliseconds patience) {
  const auto group = directory.listing->group_of(asker);
  if (group.empty())
    return to_caf({errc::unknown_request, "the instance is not complete"});
  auto open = std::make_shared<collection>();
  open->promise = self->make_response_promise<std::string>();
  open->all.request = request;
  open->missing = group.size();
  for (const auto rank : group) {
    if (!directory.members[rank]) {
      open->give_up(to_caf({errc::peer_lost, fmt::format("rank {} cannot be asked", rank)}));
      break;
    }
    self->request(directory.members[rank], patience + door_timeout, atom::ticket_v, request.value,
                  static_cast<std::uint64_t>(patience.count()))
        .then([open](const std::string& bytes) { open->take(bytes); },
              [open](caf::error& err) { open->give_up(std::move(err)); });
  }
  return open->promise;
}

std::chrono::milliseconds read_patience(std::uint64_t patience_ms) noexcept {
  const auto most = static_cast<std::uint64_t>(longest_ticket_wait.count());
  return std::chrono::milliseconds{static_cast<std::int64_t>(std::min(patience_ms, most))};
}

} // namespace baton
