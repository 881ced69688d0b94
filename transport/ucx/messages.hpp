#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace baton {

/// The active messages of the ucx lane. UCX connects only machines of one byte order, so heads are
/// plain structs.
///
/// | id | from | head | body |
/// |---|---|---|---|
/// | pull | reader | - | an encoded `lane_pull` |
/// | chunk | owner | `chunk_head` | bytes of the stream |
/// | credit | reader | `pull_head`, value: chunks more | - |
/// | end | owner | `pull_head`, value: 0 or an `errc` | text of the error |
/// | abort | reader | `pull_head` | - |
/// | bye | any | `bye_head` | - |
enum class lane_message : unsigned { pull, chunk, credit, end, abort, bye };
inline constexpr unsigned lane_messages = 6;

/// Names a pull. Always by the reader, who chose its number.
struct pull_head {
  std::uint64_t reader = 0; ///< incarnation
  std::uint64_t number = 0;
  std::uint64_t value = 0;
};

struct chunk_head {
  std::uint64_t reader = 0;
  std::uint64_t number = 0;
  std::uint64_t index = 0;
  std::uint64_t offset = 0; ///< in the stream
};

/// The sender closes a link. Over shared memory nothing else would tell. It may arrive when both
/// have long connected anew, and means the one that it names only.
struct bye_head {
  /// The link of a sender that shuts down: there will be no other.
  static constexpr auto for_good = std::numeric_limits<std::uint64_t>::max();

  std::uint64_t sender = 0;    ///< incarnation
  std::uint64_t link = 0;      ///< number of the sender's endpoint, or `for_good`
  std::uint64_t peer_link = 0; ///< number of the receiver's, 0 if the sender was never told
};

template <class Head>
[[nodiscard]] std::string_view head_bytes(const Head& head) noexcept {
  static_assert(std::is_trivially_copyable_v<Head>);
  return {reinterpret_cast<const char*>(&head), sizeof head};
}

/// Returns the head of a message; nothing if it has another size.
template <class Head>
[[nodiscard]] std::optional<Head> read_head(std::span<const std::byte> bytes) noexcept {
  Head head;
  if (bytes.size() != sizeof head)
    return std::nullopt;
  std::memcpy(&head, bytes.data(), sizeof head);
  return head;
}

} // namespace baton
