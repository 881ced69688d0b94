#include "actors/directory.hpp"

#include <algorithm>
#include <utility>

#include "actors/caf_error.hpp"
#include "actors/log.hpp"

namespace baton {
namespace {

// Askers come again before this many of them wait.
constexpr std::size_t most_waiting = 65'536;

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
  ranks.resize(first.ranks());
  auto& place = ranks[rank.rank];
  auto before = std::exchange(place, std::move(info));
  if (!complete())
    return {};
  std::vector<rank_layout> layouts;
  for (const auto& entry : ranks)
    layouts.push_back(entry->layout);
  auto ok = validate_instance(layouts);
  if (!ok)
    place = std::move(before);
  return ok;
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
  for (auto& promise : waiting)
    promise.deliver(text);
  waiting.clear();
}

directory_actor::behavior_type directory(directory_actor::stateful_pointer<directory_state> self,
                                         rank_layout first) {
  self->state.first = std::move(first);
  return {
      [self](atom::enlist, const std::string& bytes) -> caf::result<void> {
        auto info = decode_rank_info(bytes);
        if (!info)
          return to_caf(info.error());
        if (auto ok = self->state.enlist(std::move(*info)); !ok) {
          log().warn("{}", ok.error().text);
          return to_caf(ok.error());
        }
        self->state.answer_waiting();
        return caf::unit;
      },
      [self](atom::describe) -> caf::result<std::string> {
        if (self->state.complete())
          return self->state.describe();
        if (self->state.waiting.size() >= most_waiting)
          return to_caf(
              {errc::out_of_resources, "too many ask for an instance that is not complete"});
        auto promise = self->make_response_promise<std::string>();
        self->state.waiting.push_back(promise);
        return promise;
      },
  };
}

} // namespace baton
