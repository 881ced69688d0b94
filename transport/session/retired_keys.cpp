#include "transport/session/retired_keys.hpp"

#include <iterator>

namespace baton {

void retired_keys::insert(session_key key) {
  auto first = key.value;
  auto last = key.value;
  const auto next = runs_.upper_bound(key.value);
  if (next != runs_.begin()) {
    const auto& [begin, end] = *std::prev(next);
    if (key.value <= end)
      return;
    if (key.value == end + 1)
      first = begin;
  }
  if (next != runs_.end() && next->first == key.value + 1) {
    last = next->second;
    runs_.erase(next);
  }
  runs_[first] = last;
}

bool retired_keys::contains(session_key key) const noexcept {
  const auto next = runs_.upper_bound(key.value);
  return next != runs_.begin() && key.value <= std::prev(next)->second;
}

} // namespace baton
