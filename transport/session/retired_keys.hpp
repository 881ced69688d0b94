#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "messages/ids.hpp"

namespace baton {

/// Session keys that have retired. It remembers runs of keys, so with keys that count up it takes
/// no more memory than there are sessions alive. Not thread-safe.
class retired_keys {
public:
  void insert(session_key key);
  [[nodiscard]] bool contains(session_key key) const noexcept;

  /// How many separate runs of keys it remembers.
  [[nodiscard]] std::size_t runs() const noexcept { return runs_.size(); }

private:
  std::map<std::uint64_t, std::uint64_t> runs_; ///< first key of a run, and its last
};

} // namespace baton
