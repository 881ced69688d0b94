#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "messages/ids.hpp"
#include "messages/layout.hpp"

namespace baton::handoff {

/// What every byte of every pool is before the run.
inline constexpr std::byte untouched{0xA5};

/// What the blocks of a request are once it has ended, in runs that reuse them.
inline constexpr std::byte rewritten{0x5A};

/// One step of the byte pattern's hash.
[[nodiscard]] constexpr std::uint64_t splitmix64(std::uint64_t x) noexcept {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
  x = (x ^ x >> 27) * 0x94D049BB133111EB;
  return x ^ x >> 31;
}

/// The elements of one request's (layer, role, head), a row of `head_dim` elements per token. The
/// hash over what is common to all of them is taken once.
class head_pattern {
public:
  head_pattern(std::uint64_t seed, request_id request, std::uint32_t layer, cache_role role,
               std::uint32_t head, std::uint32_t element_bytes) noexcept;

  /// Writes the row of a token, from element `first_dim` on; `row` is a whole number of elements.
  void fill(std::uint32_t token, std::span<std::byte> row,
            std::uint32_t first_dim = 0) const noexcept;
  /// Returns how many bytes of `row` differ from the token's row, from element `first_dim` on.
  [[nodiscard]] std::uint64_t mismatches(std::uint32_t token, std::span<const std::byte> row,
                                         std::uint32_t first_dim = 0) const noexcept;

private:
  std::uint64_t hash_;
  std::uint32_t element_bytes_;
};

/// Returns how many of the bytes are not `untouched`.
[[nodiscard]] std::uint64_t touched_bytes(std::span<const std::byte> bytes) noexcept;

} // namespace baton::handoff
