#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace baton {

/// Visitors whose instance is not known yet. One of them is asked for it, the others wait, so that
/// an instance is sent once however many of its ranks come. Where no answer comes in time, the next
/// one is asked. Not thread-safe.
template <class Visitor>
class guest_queue {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// @param patience  how long a visitor may take to come back with its instance.
  /// @param capacity  how many may wait for one instance.
  explicit guest_queue(std::chrono::milliseconds patience, std::size_t capacity = 4'096)
      : patience_{patience}, capacity_{capacity} {}

  /// Takes a visitor in. Returns one that is to be asked for the instance now.
  [[nodiscard]] std::optional<Visitor> wait(time_point now, std::uint64_t digest, Visitor visitor) {
    const auto [found, fresh] = waiting_.try_emplace(digest, entry{now, {}});
    if (fresh || found->second.others.size() >= capacity_)
      return visitor;
    found->second.others.push_back(std::move(visitor));
    return std::nullopt;
  }

  /// An instance is known: returns those who have waited for it, longest first.
  [[nodiscard]] std::deque<Visitor> release(std::uint64_t digest) {
    auto node = waiting_.extract(digest);
    return node ? std::move(node.mapped().others) : std::deque<Visitor>{};
  }

  /// Returns whom to ask since those asked before have not come back.
  [[nodiscard]] std::vector<Visitor> overdue(time_point now) {
    std::vector<Visitor> next;
    for (auto item = waiting_.begin(); item != waiting_.end();) {
      auto& [asked, others] = item->second;
      if (now - asked < patience_) {
        ++item;
      } else if (others.empty()) {
        item = waiting_.erase(item);
      } else {
        asked = now;
        next.push_back(std::move(others.front()));
        others.pop_front();
        ++item;
      }
    }
    return next;
  }

  /// Returns all who wait, and forgets them.
  [[nodiscard]] std::vector<Visitor> clear() {
    std::vector<Visitor> all;
    for (auto& [digest, waiting] : std::exchange(waiting_, {}))
      std::move(waiting.others.begin(), waiting.others.end(), std::back_inserter(all));
    return all;
  }

private:
  struct entry {
    time_point asked;
    std::deque<Visitor> others; ///< longest first
  };

  std::chrono::milliseconds patience_;
  std::size_t capacity_;
  std::unordered_map<std::uint64_t, entry> waiting_; ///< by digest
};

} // namespace baton
