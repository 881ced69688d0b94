#include "actors/directory.hpp"

#include <algorithm>
#include <utility>

#include "actors/caf_error.hpp"
#include "actors/connect.hpp"
#include "actors/log.hpp"
#include "actors/ticket_collection.hpp"

namespace baton {
namespace {

constexpr std::size_t most_waiting = 65'536;

// Lives of ranks that were restarted, of which one may thaw and come back.
constexpr std::size_t most_replaced = 256;

} // namespace

expected<> directory_state::enlist(rank_info info) {
  const auto& rank = info.layout;
  const auto differs = [&](std::string_view field, const auto& theirs, const auto& ours) {
    return fail(errc::invalid_argument, "rank {} of '{}' enlists with {} {}, rank 0 of '{}' has {}",
                rank.rank, rank.instance, field, theirs, first.instance, ours);
  };
  if (rank.instance != first.instance)
    return differs("instance", rank.instance, first.instance);
  if (rank.role != first.role)
    return differs("role", to_string(rank.role), to_string(first.role));
  if (rank.tp_size != first.tp_size)
    return differs("tp_size", rank.tp_size, first.tp_size);
  if (rank.pp_size != first.pp_size)
    return differs("pp_size", rank.pp_size, first.pp_size);
  if (std::find(replaced.begin(), replaced.end(), rank.life) != replaced.end())
    return fail(errc::duplicate_request,
                "rank {} of '{}' was replaced by another process; end this one", rank.rank,
                rank.instance);
  ranks.resize(first.ranks());
  members.resize(first.ranks());
  auto& place = ranks[rank.rank];
  auto before = std::exchange(place, std::move(info));
  if (complete()) {
    std::vector<rank_layout> layouts;
    for (const auto& entry : ranks)
      layouts.push_back(entry->layout);
    if (auto ok = validate_instance(layouts); !ok) {
      place = std::move(before);
      return ok;
    }
  }
  if (before && before->layout.life != place->layout.life) {
    replaced.push_back(before->layout.life);
    if (replaced.size() > most_replaced)
      replaced.pop_front();
  }
  return {};
}

bool directory_state::knows(std::uint32_t rank, incarnation life) const noexcept {
  return rank < ranks.size() && ranks[rank] && ranks[rank]->layout.life == life;
}

bool directory_state::complete() const noexcept {
  return ranks.size() == first.ranks() &&
         std::all_of(ranks.begin(), ranks.end(), [](const auto& rank) { return rank.has_value(); });
}

std::string directory_state::describe() const {
  instance_info instance;
  for (const auto& rank : ranks)
    instance.ranks.push_back(*rank);
  return encode(instance);
}

void directory_state::answer_waiting() {
  if (!complete() || waiting.empty())
    return;
  const auto text = describe();
  for (auto& asker : waiting)
    asker.promise.deliver(text);
  waiting.clear();
}

directory_actor::behavior_type directory(directory_actor::stateful_pointer<directory_state> self,
                                         rank_layout first, transceiver_options options) {
  self->state.first = std::move(first);
  self->state.agreement.emplace(self->state.first, options);
  self->set_down_handler([self](const caf::down_msg& message) {
    self->state.agreement->lost(self->clock().now(), message.source);
  });
  return {
      [self](atom::enlist, const std::string& bytes) -> caf::result<void> {
        auto info = decode_rank_info(bytes);
        if (!info)
          return to_caf(info.error());
        const auto rank = info->layout.rank;
        if (auto ok = self->state.enlist(std::move(*info)); !ok) {
          log().warn("{}", ok.error().text);
          return to_caf(ok.error());
        }
        self->state.members[rank] = caf::actor_cast<member_actor>(self->current_sender());
        self->state.answer_waiting();
        return caf::unit;
      },
      [self](atom::describe) -> caf::result<std::string> {
        if (self->state.complete())
          return self->state.describe();
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
        if (!state.knows(vote->rank, vote->life))
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
