#include "transport/base/copy.hpp"

#include <unistd.h>

#include <cstring>
#include <initializer_list>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace baton {

namespace {

#ifdef __SSE2__
constexpr std::size_t line = 64;
/// Below this a fragment is not worth the alignment of its head and tail.
constexpr std::size_t least_streamed = 512;
constexpr std::size_t ahead = 8 * line;

[[gnu::no_sanitize("thread")]] void stream_lines(std::byte* to, const std::byte* from,
                                                 std::size_t bytes) noexcept {
  for (std::size_t at = 0; at < bytes; at += line) {
    const auto* source = reinterpret_cast<const __m128i*>(from + at);
    auto* destination = reinterpret_cast<__m128i*>(to + at);
    // A prefetch past the end is harmless: it never faults.
    _mm_prefetch(reinterpret_cast<const char*>(source) + ahead, _MM_HINT_NTA);
    const __m128i a = _mm_loadu_si128(source);
    const __m128i b = _mm_loadu_si128(source + 1);
    const __m128i c = _mm_loadu_si128(source + 2);
    const __m128i d = _mm_loadu_si128(source + 3);
    _mm_stream_si128(destination, a);
    _mm_stream_si128(destination + 1, b);
    _mm_stream_si128(destination + 2, c);
    _mm_stream_si128(destination + 3, d);
  }
}

void stream(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
  const auto head = (line - reinterpret_cast<std::uintptr_t>(to) % line) % line;
  const auto body = (bytes - head) / line * line;
  std::memcpy(to, from, head);
  stream_lines(to + head, from + head, body);
  std::memcpy(to + head + body, from + head + body, bytes - head - body);
}
#endif

std::uint64_t last_level_cache() noexcept {
  for (const int level : {_SC_LEVEL3_CACHE_SIZE, _SC_LEVEL2_CACHE_SIZE})
    if (const long bytes = sysconf(level); bytes > 0)
      return static_cast<std::uint64_t>(bytes);
  return 8u << 20;
}

} // namespace

[[gnu::noinline]] void racing_copy(std::byte* to, const std::byte* from, std::size_t bytes,
                                   copy_mode mode) noexcept {
#ifdef __SSE2__
  if (mode == copy_mode::streaming && bytes >= least_streamed)
    return stream(to, from, bytes);
#else
  static_cast<void>(mode);
#endif
  std::memcpy(to, from, bytes);
}

void end_streaming() noexcept {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

copy_mode mode_for(std::uint64_t job_bytes) noexcept {
  static const auto cache = last_level_cache();
  return job_bytes > cache ? copy_mode::streaming : copy_mode::cached;
}

} // namespace baton
