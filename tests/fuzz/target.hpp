#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/fuzz/memory_watch.hpp"

/// What every target takes: libFuzzer's entry. A target ends the program when it finds something.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace baton::fuzz {

[[noreturn]] inline void found(std::string_view what) {
  std::fprintf(stderr, "fuzz: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

[[nodiscard]] inline std::string_view text_of(const std::uint8_t* data, std::size_t size) noexcept {
  return {reinterpret_cast<const char*>(data), size};
}

/// How much memory a decoder may take for a message.
struct memory_bound {
  std::size_t fixed = 64u << 10;
  std::size_t per_byte = 48;

  void check(const memory_watch& watch, std::size_t bytes) const {
    if (watch.peak() > fixed + per_byte * bytes)
      found("more memory than a message of its size may take");
  }
};

/// Of messages with layouts: ruling out overlaps may look at so many pieces of memory.
inline constexpr memory_bound layout_bound{192u << 20};
/// Of messages with items: so many may be in them, however small.
inline constexpr memory_bound agreement_bound{4u << 20};

/// Checks a decoder: bounded memory, errors with a text that is not overlong, and that what it
/// accepts is the same after it was encoded and decoded again.
template <class Decode>
void check_decoder(std::string_view bytes, memory_bound bound, const Decode& decode) {
  constexpr std::size_t longest_text = 2048;
  const memory_watch watch;
  const auto value = decode(bytes);
  bound.check(watch, bytes.size());
  if (!value) {
    if (value.error().text.empty() || value.error().text.size() > longest_text)
      found("an error whose text says nothing, or too much");
    return;
  }
  const auto again = decode(encode(*value));
  if (!again || !(*again == *value))
    found("accepted, but not the same after it was encoded and decoded again");
}

} // namespace baton::fuzz
