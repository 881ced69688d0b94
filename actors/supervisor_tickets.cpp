#include <iterator>

#include "actors/supervisor.hpp"

/// What the supervisor does for those who want tickets.
namespace baton {

void supervisor::ticket(time_point now, request_id request, std::chrono::milliseconds patience,
                        caller_id caller) {
  const auto found = records_.find(request);
  const bool live = found != records_.end();
  const bool ended = live ? found->second.verdict || found->second.succeeded
                          : ended_before_.find(request) != nullptr || refusal_;
  if (layout_.role != instance_role::context || ended ||
      ticket_askers_.size() >= options_.early_requests)
    return backend_.answer_ticket(caller, nullptr);
  const bool running = live && found->second.at == phase::running;
  if (running)
    if (const auto& made = std::get<sending>(found->second.work).ticket)
      return backend_.answer_ticket(caller, made);
  const auto expires = now + patience;
  ticket_askers_.emplace(request, ticket_asker{caller, expires});
  due(expires);
  if (running)
    backend_.tell(found->second.key, ticket_wanted{});
}

void supervisor::answer_ticket(request_id request,
                               const std::shared_ptr<const request_ticket>& ticket) {
  const auto [begin, end] = ticket_askers_.equal_range(request);
  for (auto asker = begin; asker != end; ++asker)
    backend_.answer_ticket(asker->second.caller, ticket);
  ticket_askers_.erase(begin, end);
}

void supervisor::look_for_late_tickets(time_point now) {
  for (auto asker = ticket_askers_.begin(); asker != ticket_askers_.end();) {
    const auto [caller, expires] = asker->second;
    if (now >= expires)
      backend_.answer_ticket(caller, nullptr);
    else
      due(expires);
    asker = now >= expires ? ticket_askers_.erase(asker) : std::next(asker);
  }
}

} // namespace baton
