#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

#include "actors/session.hpp"

namespace baton {

/// Which generation ranks a context rank has met, and which of them it lost lately. Tells when a
/// request waits for a receiver that will never ask. Not thread-safe.
class peer_places {
public:
  /// @param memory  how long after its loss a rank counts also for requests that are offered then,
  ///                and how long they wait for its next life to take its place.
  explicit peer_places(std::chrono::milliseconds memory) : memory_{memory} {}

  /// A rank introduced itself; it replaces its earlier lives.
  void add(incarnation peer, peer_place place) {
    std::erase_if(departed_, [&](const departure& gone) {
      return gone.place.instance == place.instance && gone.place.rank == place.rank;
    });
    places_.insert_or_assign(peer, std::move(place));
  }

  /// A rank is gone for good.
  void remove(time_point now, incarnation peer) {
    auto node = places_.extract(peer);
    if (node.empty() || !pulls(node.mapped(), node.mapped().rank))
      return;
    departed_.push_back({std::move(node.mapped()), now});
    if (departed_.size() > most_departed)
      departed_.pop_front();
  }

  [[nodiscard]] bool same_instance(incarnation one, incarnation other) const {
    const auto a = places_.find(one);
    const auto b = places_.find(other);
    return a != places_.end() && b != places_.end() && a->second.instance == b->second.instance;
  }

  /// Whether `missing` can find anything.
  [[nodiscard]] bool any_departed() const noexcept { return !departed_.empty(); }

  /// Returns the first lost rank that must ask for a request because `sibling`, whose rank is
  /// `receiver`, has, and of which `excused` is not true; nullopt if there is none.
  template <class Excused>
  [[nodiscard]] std::optional<std::uint32_t> missing(time_point now, time_point offered,
                                                     incarnation sibling, std::uint32_t receiver,
                                                     Excused excused) const {
    const auto known = places_.find(sibling);
    if (known == places_.end())
      return std::nullopt;
    for (const auto& [place, when] : departed_)
      if (place.instance == known->second.instance && pulls(place, receiver) &&
          (offered <= when || (offered - when <= memory_ && now - offered >= memory_)) &&
          !excused(place.rank))
        return place.rank;
    return std::nullopt;
  }

  /// When `missing` may say more about a request than it does before; nullopt if never.
  [[nodiscard]] std::optional<time_point> decision(time_point offered) const {
    for (const auto& [place, when] : departed_)
      if (offered > when && offered - when <= memory_)
        return offered + memory_;
    return std::nullopt;
  }

private:
  struct departure {
    peer_place place;
    time_point when;
  };

  static constexpr std::size_t most_departed = 256;

  [[nodiscard]] static bool pulls(const peer_place& place, std::uint32_t rank) {
    return place.receivers && std::ranges::binary_search(*place.receivers, rank);
  }

  std::chrono::milliseconds memory_;
  std::unordered_map<incarnation, peer_place> places_;
  std::deque<departure> departed_;
};

} // namespace baton
