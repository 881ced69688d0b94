#include "actors/directory.hpp"

#include <utility>

#include "actors/caf_error.hpp"
#include "actors/connect.hpp"
#include "actors/log.hpp"
#include "actors/ticket_collection.hpp"

namespace baton {
namespace {

constexpr std::size_t most_waiting = 65'536;

} // namespace

void directory_state::answer_waiting() {
  if (!listing->complete())
    return;
  for (auto& asker : waiting)
    asker.promise.deliver(listing->describe());
  waiting.clear();
}

directory_actor::behavior_type directory(directory_actor::stateful_pointer<directory_state> self,
                                         rank_layout first, transceiver_options options) {
  self->state.agreement.emplace(first, options);
  self->state.members.resize(first.ranks());
  self->state.listing.emplace(std::move(first));
  self->set_down_handler([self](const caf::down_msg& message) {
    self->state.agreement->lost(self->clock().now(), message.source);
  });
  return {
      [self](atom::enlist, const std::string& bytes) -> caf::result<void> {
        auto info = decode_rank_info(bytes);
        if (!info)
          return to_caf(info.error());
        const auto rank = info->layout.rank;
        if (auto ok = self->state.listing->enlist(std::move(*info)); !ok) {
          log().warn("{}", ok.error().text);
          return to_caf(ok.error());
        }
        self->state.members[rank] = caf::actor_cast<member_actor>(self->current_sender());
        self->state.answer_waiting();
        return caf::unit;
      },
      [self](atom::describe) -> caf::result<std::string> {
        if (self->state.listing->complete())
          return self->state.listing->describe();
        auto& waiting = self->state.waiting;
        const auto now = self->clock().now();
        while (!waiting.empty() && waiting.front().gives_up <= now)
          waiting.pop_front();
        if (waiting.size() >= most_waiting)
          return to_caf(
              {errc::out_of_resources, "too many ask for an instance that is not complete"});
        auto promise = self->make_response_promise<std::string>();
        waiting.push_back({promise, now + door_timeout});
        return promise;
      },
      [self, options](atom::agree, const std::string& bytes) {
        auto& state = self->state;
        auto vote = decode_vote(bytes);
        if (!vote || !self->current_sender())
          return log().warn("a vote was dropped: {}",
                            vote ? "nobody has sent it" : vote.error().text);
        // Whoever was replaced has no vote any more.
        if (!state.listing->knows(vote->rank, vote->life))
          return;
        if (const auto fresh =
                state.agreement->vote(self->clock().now(), std::move(*vote),
                                      caf::actor_cast<member_actor>(self->current_sender())))
          self->monitor(*fresh);
        if (state.agreement->start_ticking())
          self->delayed_send(self, options.sweep, atom::sweep_v);
      },
      [self](atom::collect, std::uint32_t asker, std::uint64_t request, std::uint64_t patience_ms) {
        return collect_tickets(self, self->state, asker, request_id{request},
                               read_patience(patience_ms));
      },
      [self, options](atom::sweep) {
        if (self->state.agreement->tick(self->clock().now()))
          self->delayed_send(self, options.sweep, atom::sweep_v);
      },
  };
}

} // namespace baton
