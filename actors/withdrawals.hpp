#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "messages/error.hpp"
#include "messages/ids.hpp"

namespace baton {

/// Remembers what receivers took back before it could have an effect: pulls whose cancel came ahead
/// of their pull request, and requests that were cancelled before they were offered. At most
/// `capacity` of them, the oldest go first. Not thread-safe.
class withdrawals {
public:
  using time_point = std::chrono::steady_clock::time_point;

  struct entry {
    incarnation peer; ///< the receiver
    pull_id pull;
    error reason;
    /// Until then the request is refused when it is offered; empty: only the pull is refused.
    std::optional<time_point> refuse_offer_until;
  };

  explicit withdrawals(std::size_t capacity) : capacity_{capacity} {}

  void add(request_id request, entry what) {
    order_.emplace_back(request, what.pull);
    entries_[request].push_back(std::move(what));
    if (order_.size() > capacity_) {
      const auto [oldest, pull] = order_.front();
      order_.pop_front();
      forget(oldest, [pull = pull](const entry& old) { return old.pull == pull; });
    }
  }

  /// Returns why a pull was taken back, and forgets it; nullopt if it was not.
  [[nodiscard]] std::optional<error> take(request_id request, incarnation peer, pull_id pull) {
    std::optional<error> reason;
    forget(request, [&](const entry& item) {
      const bool same = item.peer == peer && item.pull == pull;
      if (same)
        reason = item.reason;
      return same;
    });
    return reason;
  }

  /// Returns why an offer of the request is refused, if it is.
  [[nodiscard]] std::optional<error> refusal(request_id request, time_point now) const {
    if (const auto found = entries_.find(request); found != entries_.end())
      for (const auto& item : found->second)
        if (item.refuse_offer_until && now < *item.refuse_offer_until)
          return item.reason;
    return std::nullopt;
  }

  /// Forgets all of a request that `which` picks.
  template <class Pick>
  void forget(request_id request, Pick which) {
    const auto found = entries_.find(request);
    if (found == entries_.end())
      return;
    std::erase_if(found->second, which);
    if (found->second.empty())
      entries_.erase(found);
  }

private:
  std::size_t capacity_;
  std::unordered_map<request_id, std::vector<entry>> entries_;
  std::deque<std::pair<request_id, pull_id>> order_;
};

} // namespace baton
