#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <tl/expected.hpp>

namespace baton {

/// What went wrong, as one value that crosses threads, actors and ranks alike. The numbers are part
/// of the wire format: append only.
enum class errc : std::uint8_t {
  /// The caller or a peer passed something that can never work; the text names the field.
  invalid_argument = 1,
  /// Two ranks describe caches that cannot be handed over; the text names the field and both
  /// values.
  incompatible_layout,
  /// The peer speaks another protocol or runs another UCX version.
  version_mismatch,
  /// The peer does not know the request.
  unknown_request,
  /// A request with this id is alive already; it is left untouched.
  duplicate_request,
  /// The request's deadline passed.
  timed_out,
  /// One of the two sides cancelled the request.
  cancelled,
  /// The peer process is gone, or its link broke.
  peer_lost,
  /// The owner took its blocks back while they were being read; nothing was delivered.
  lease_revoked,
  /// The lane failed to move the bytes.
  transport_failed,
  /// CUDA reported an error.
  gpu_failed,
  /// A bounded resource (leases, staging slots, descriptors, memory) is used up.
  out_of_resources,
  /// This rank is shutting down and takes no new work.
  shutting_down,
};

/// The last enumerator of `errc`, for range checks on decoded numbers.
inline constexpr errc last_errc = errc::shutting_down;

/// Returns the enumerator's name, e.g. "peer_lost".
[[nodiscard]] std::string_view to_string(errc code) noexcept;

/// Whether a new attempt at the same request may succeed: the peer or the transport failed, not the
/// request itself.
[[nodiscard]] bool retryable(errc code) noexcept;

/// An error code with a text that names the culprit and the remedy.
struct error {
  errc code = errc::invalid_argument;
  std::string text;

  friend bool operator==(const error&, const error&) = default;
};

/// Returns "code: text".
[[nodiscard]] std::string to_string(const error& err);

template <class T = void>
using expected = tl::expected<T, error>;

/// Builds the failed value of any `expected` with a formatted text.
template <class... Args>
[[nodiscard]] tl::unexpected<error> fail(errc code, fmt::format_string<Args...> format,
                                         Args&&... args) {
  return tl::unexpected{error{code, fmt::format(format, std::forward<Args>(args)...)}};
}

/// Passes an error on, or turns it into one of another `expected`.
[[nodiscard]] inline tl::unexpected<error> fail(error err) {
  return tl::unexpected{std::move(err)};
}

} // namespace baton
