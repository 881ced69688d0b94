#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

#include <fmt/format.h>

namespace baton {

/// A 64-bit number that cannot be mistaken for one of another kind.
template <class Tag>
struct strong_id {
  std::uint64_t value = 0;

  constexpr strong_id() = default;
  constexpr explicit strong_id(std::uint64_t number) noexcept : value{number} {}

  friend constexpr auto operator<=>(strong_id, strong_id) = default;
};

/// A request; unique across the deployment and the same on both sides.
using request_id = strong_id<struct request_tag>;
/// One life of a rank, random. It names the peer in every message and every lease.
using incarnation = strong_id<struct incarnation_tag>;
/// One attempt of one receiver to pull one request, random.
using pull_id = strong_id<struct pull_tag>;
/// One offer of a request by a context rank, random; it survives a restart of the send session.
using offer_id = strong_id<struct offer_tag>;
/// One life of a session in its rank; the owner tag of its jobs and leases. Never reused in a rank.
using session_key = strong_id<struct session_tag>;

/// Returns an unguessable, non-zero number from the kernel's random source. Thread-safe.
[[nodiscard]] std::uint64_t random_number() noexcept;

/// Returns a random id of the wanted kind.
template <class Id>
[[nodiscard]] Id random_id() noexcept {
  return Id{random_number()};
}

} // namespace baton

template <class Tag>
struct std::hash<baton::strong_id<Tag>> {
  std::size_t operator()(baton::strong_id<Tag> id) const noexcept {
    return std::hash<std::uint64_t>{}(id.value);
  }
};

template <class Tag>
struct fmt::formatter<baton::strong_id<Tag>> : fmt::formatter<std::uint64_t> {
  template <class Context>
  auto format(baton::strong_id<Tag> id, Context& ctx) const {
    return fmt::formatter<std::uint64_t>::format(id.value, ctx);
  }
};
