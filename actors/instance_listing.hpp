#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "messages/wire.hpp"

namespace baton {

/// The ranks of one instance, as its directory knows them. Not thread-safe.
class instance_listing {
public:
  /// @param first  the layout of rank 0, which the others must match.
  explicit instance_listing(rank_layout first) : first_{std::move(first)} {}

  /// Takes a rank in, without its manifest: whoever is introduced to it hears that from itself.
  /// Another life of a rank replaces the one before, which is not taken in again.
  /// @returns `invalid_argument` or `incompatible_layout` for a rank that does not belong to this
  /// instance, `duplicate_request` for a life that was replaced.
  [[nodiscard]] expected<> enlist(rank_info info);

  /// Whether this is the present life of a rank.
  [[nodiscard]] bool knows(std::uint32_t rank, incarnation life) const noexcept;

  [[nodiscard]] bool complete() const noexcept { return enlisted_ == first_.ranks(); }

  /// Returns the ranks that compute the same requests as one of them; none unless the instance is
  /// complete.
  [[nodiscard]] std::vector<std::uint32_t> group_of(std::uint32_t rank) const;

  /// Returns the encoded instance, which must be complete. It is encoded once for all who ask,
  /// until a rank is taken in.
  [[nodiscard]] const std::string& describe();

private:
  rank_layout first_;
  std::vector<std::optional<rank_info>> ranks_;
  std::size_t enlisted_ = 0;
  std::deque<incarnation> replaced_; ///< the last lives that were
  std::string described_;            ///< empty: to be encoded
};

} // namespace baton
