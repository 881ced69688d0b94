#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/state.hpp"

namespace baton {

/// Remembers how the last `capacity` requests ended, so that late questions get their answer at
/// once. Not thread-safe.
class tombstones {
public:
  struct entry {
    request_state state = request_state::trans_error;
    std::optional<error> failure;
    /// The request ended before it was offered: an offer may be on its way.
    bool refuse_offer = false;
    /// The request ended on another rank before this one knew it: so may what prepares it.
    bool refuse_prepare = false;
  };

  explicit tombstones(std::size_t capacity) : capacity_{capacity} {}

  /// Remembers an end; a newer end of the same id replaces the older.
  void add(request_id request, entry how) {
    if (capacity_ == 0)
      return;
    if (!entries_.insert_or_assign(request, std::move(how)).second)
      return;
    order_.push_back(request);
    if (order_.size() > capacity_) {
      entries_.erase(order_.front());
      order_.pop_front();
    }
  }

  /// Returns how a request ended, or nullptr.
  [[nodiscard]] const entry* find(request_id request) const {
    const auto found = entries_.find(request);
    return found == entries_.end() ? nullptr : &found->second;
  }

  /// Returns why a call for the request is refused, once.
  [[nodiscard]] std::optional<error> take_refusal(request_id request, bool preparing = false) {
    const auto found = entries_.find(request);
    if (found == entries_.end() || !std::exchange(found->second.refuse_offer, false))
      return std::nullopt;
    if (preparing && !found->second.refuse_prepare)
      return std::nullopt;
    return found->second.failure;
  }

private:
  std::size_t capacity_;
  std::unordered_map<request_id, entry> entries_;
  std::deque<request_id> order_;
};

} // namespace baton
