#pragma once

#include <cstddef>
#include <cstdint>

namespace baton {

/// How a copy treats the caches. `streaming` writes past them: faster for jobs larger than the
/// last-level cache, where a plain store would first read the line that it is going to overwrite.
enum class copy_mode : std::uint8_t { cached, streaming };

/// Copies bytes that their owner, in this or in another process, may be rewriting meanwhile. Nobody
/// may look at what it copied before the lease under which it was read was found granted
/// afterwards. It stays out of line so that ThreadSanitizer can be told to leave it alone, by this
/// name.
///
/// After copies in `streaming` mode call `end_streaming` before anybody is told of them.
void racing_copy(std::byte* to, const std::byte* from, std::size_t bytes, copy_mode mode) noexcept;

/// Orders the streaming stores of this thread before whatever it writes next.
void end_streaming() noexcept;

/// Returns the better mode for a job of so many bytes on this machine.
[[nodiscard]] copy_mode mode_for(std::uint64_t job_bytes) noexcept;

} // namespace baton
