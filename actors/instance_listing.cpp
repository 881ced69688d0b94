#include "actors/instance_listing.hpp"

#include <algorithm>
#include <utility>

namespace baton {
namespace {

// Lives of ranks that were restarted, of which one may thaw and come back.
constexpr std::size_t most_replaced = 256;

} // namespace

expected<> instance_listing::enlist(rank_info info) {
  const auto& rank = info.layout;
  const auto differs = [&](std::string_view field, const auto& theirs, const auto& ours) {
    return fail(errc::invalid_argument, "rank {} of '{}' enlists with {} {}, rank 0 of '{}' has {}",
                rank.rank, rank.instance, field, theirs, first_.instance, ours);
  };
  if (rank.instance != first_.instance)
    return differs("instance", rank.instance, first_.instance);
  if (rank.role != first_.role)
    return differs("role", to_string(rank.role), to_string(first_.role));
  if (rank.tp_size != first_.tp_size)
    return differs("tp_size", rank.tp_size, first_.tp_size);
  if (rank.pp_size != first_.pp_size)
    return differs("pp_size", rank.pp_size, first_.pp_size);
  if (std::ranges::find(replaced_, rank.life) != replaced_.end())
    return fail(errc::duplicate_request,
                "rank {} of '{}' was replaced by another process; end this one", rank.rank,
                rank.instance);
  info.manifest.clear();
  ranks_.resize(first_.ranks());
  auto& place = ranks_[rank.rank];
  // A rank that enlists again after a lost answer changes nothing.
  if (place == info)
    return {};
  auto before = std::exchange(place, std::move(info));
  enlisted_ += before ? 0 : 1;
  if (complete()) {
    std::vector<rank_layout> layouts;
    for (const auto& entry : ranks_)
      layouts.push_back(entry->layout);
    if (auto ok = validate_instance(layouts); !ok) {
      place = std::move(before);
      enlisted_ -= place ? 0 : 1;
      return ok;
    }
  }
  described_.clear();
  if (before && before->layout.life != place->layout.life) {
    replaced_.push_back(before->layout.life);
    if (replaced_.size() > most_replaced)
      replaced_.pop_front();
  }
  return {};
}

bool instance_listing::knows(std::uint32_t rank, incarnation life) const noexcept {
  return rank < ranks_.size() && ranks_[rank] && ranks_[rank]->layout.life == life;
}

const std::string& instance_listing::describe() {
  if (described_.empty()) {
    instance_info instance;
    for (const auto& rank : ranks_)
      instance.ranks.push_back(*rank);
    described_ = encode(instance);
  }
  return described_;
}

std::vector<std::uint32_t> instance_listing::group_of(std::uint32_t rank) const {
  std::vector<std::uint32_t> group;
  if (!complete() || rank >= ranks_.size())
    return group;
  const auto dp_rank = ranks_[rank]->layout.dp_rank();
  for (const auto& other : ranks_)
    if (other->layout.dp_rank() == dp_rank)
      group.push_back(other->layout.rank);
  return group;
}

} // namespace baton
