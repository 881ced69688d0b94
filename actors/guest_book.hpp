#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "actors/acquaintance.hpp"

namespace baton {

/// The generation instances whose ranks have introduced themselves to a context rank. Each is
/// checked once, however many of its ranks come, and only what concerns this rank is kept of it.
/// Instances are named by their digests; the last `capacity` of them are remembered. Not
/// thread-safe.
class guest_book {
public:
  explicit guest_book(own_instance_ptr own, std::size_t capacity = 256);

  /// Whether an instance was taken in, whatever came out.
  [[nodiscard]] bool knows(std::uint64_t digest) const noexcept {
    return entries_.contains(digest);
  }

  /// Takes an instance in: decides whether it fits this rank's own, and works out who pulls what
  /// from this rank. That it does not fit is remembered, and said to each of its ranks.
  ///
  /// @returns `invalid_argument` for bytes that are not the instance of that digest; they change
  /// nothing.
  [[nodiscard]] expected<> add(std::uint64_t digest, std::string_view encoded);

  /// Decides whether a rank of a known instance and this one can work together, and what moves.
  ///
  /// @returns `invalid_argument` for a rank that is not of a generation instance,
  ///          `incompatible_layout` with the field and both values.
  [[nodiscard]] expected<acquaintance> meet(const introduction& intro) const;

private:
  struct guest {
    rank_pair pair;
    std::uint64_t digest = 0; ///< of its layout alone
  };
  struct relation {
    std::vector<guest> guests;                        ///< by rank
    std::map<std::uint32_t, receiver_list> receivers; ///< by dp rank
  };

  [[nodiscard]] expected<relation> look_through(const instance_info& instance) const;

  own_instance_ptr own_;
  std::size_t capacity_;
  std::unordered_map<std::uint64_t, expected<relation>> entries_; ///< by digest
  std::deque<std::uint64_t> order_;
};

} // namespace baton
