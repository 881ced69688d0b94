#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "messages/error.hpp"
#include "transport/base/unique_fd.hpp"

namespace baton {

/// A range of mapped pages, unmapped on destruction. Empty after default construction or a move.
class mapping {
public:
  mapping() = default;
  mapping(void* data, std::size_t bytes) noexcept;
  mapping(mapping&& other) noexcept;
  mapping& operator=(mapping other) noexcept;
  ~mapping();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }
  [[nodiscard]] std::span<std::byte> release() noexcept;

  /// Unmaps the last `bytes`, at most all. They must be whole pages of the kind that is mapped.
  void cut(std::size_t bytes) noexcept;

private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Shared memory of our own, and its descriptor, which can be handed to peers.
struct memory_file {
  unique_fd descriptor;
  mapping memory; ///< writable; whole pages
};

/// Makes a memfd of `bytes` zeroed and touched bytes (rounded up to whole pages), maps it, and
/// seals it with SHRINK, GROW and FUTURE_WRITE: whoever gets the descriptor can map it for reading
/// only.
///
/// @param name  what error texts call it.
/// @param huge  takes huge pages, if the machine has enough free ones.
/// @returns `out_of_resources` for more than there is room for (see `measure_memory_room`), or with
///          the kernel's text.
[[nodiscard]] expected<memory_file> create_memory_file(const char* name, std::size_t bytes,
                                                       bool huge);

/// Maps a peer's descriptor read-only. Only a file that can neither shrink nor grow is accepted,
/// since otherwise its owner could take the pages from under our feet (SIGBUS). Touches no page, so
/// that it takes no longer for a large file than for a small one; see `warm`.
///
/// @param what names the file in error texts.
/// @returns `transport_failed` for missing seals, fewer than `bytes` bytes, or a refusal of the
/// kernel.
[[nodiscard]] expected<mapping> map_sealed(int descriptor, std::size_t bytes,
                                           std::string_view what);

/// Brings the pages of a part of a mapping, from a page's bound on, into our page tables, so that
/// readers need not fault them in.
///
/// @returns whether the kernel did.
[[nodiscard]] bool warm(const mapping& memory, std::size_t offset, std::size_t bytes) noexcept;

/// Maps private anonymous memory, touched, from transparent huge pages where the kernel has them.
[[nodiscard]] expected<mapping> map_private(std::size_t bytes);

} // namespace baton
