#include "transport/base/convert.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "messages/convert_bits.hpp"

namespace baton {

namespace {

/// So many at a time stay in the first-level cache, on both sides.
constexpr std::uint64_t block_elements = 1024;

template <element_type type>
struct stored;
template <>
struct stored<element_type::fp32> {
  using word = std::uint32_t;
};
template <>
struct stored<element_type::bf16> {
  using word = std::uint16_t;
};
template <>
struct stored<element_type::fp16> {
  using word = std::uint16_t;
};
template <>
struct stored<element_type::fp8_e4m3> {
  using word = std::uint8_t;
};
template <element_type type>
using word_of = typename stored<type>::word;

template <type_pair types>
[[gnu::always_inline]] inline void loop(word_of<types.to>* __restrict to,
                                        const word_of<types.from>* __restrict from,
                                        std::size_t count, float factor) {
  for (std::size_t i = 0; i < count; ++i)
    to[i] = static_cast<word_of<types.to>>(bits::converted<types.from, types.to>(from[i], factor));
}

using block_loop = void (*)(std::byte* to, const std::byte* from, std::size_t count, float factor);

template <type_pair types>
void plain_loop(std::byte* to, const std::byte* from, std::size_t count, float factor) {
  loop<types>(reinterpret_cast<word_of<types.to>*>(to),
              reinterpret_cast<const word_of<types.from>*>(from), count, factor);
}

template <std::size_t... index>
constexpr auto plain_loops(std::index_sequence<index...>) {
  return std::array<block_loop, sizeof...(index)>{plain_loop<conversions[index]>...};
}

#ifdef __x86_64__
template <type_pair types>
[[gnu::target("avx2")]] void wide_loop(std::byte* to, const std::byte* from, std::size_t count,
                                       float factor) {
  loop<types>(reinterpret_cast<word_of<types.to>*>(to),
              reinterpret_cast<const word_of<types.from>*>(from), count, factor);
}

template <std::size_t... index>
constexpr auto wide_loops(std::index_sequence<index...>) {
  return std::array<block_loop, sizeof...(index)>{wide_loop<conversions[index]>...};
}
#endif

block_loop loop_for(const element_conversion& as) noexcept {
  constexpr auto all = std::make_index_sequence<conversions.size()>{};
  const auto index = conversion_index(as.from, as.to);
#ifdef __x86_64__
  static const bool wide = __builtin_cpu_supports("avx2") != 0;
  if (wide)
    return wide_loops(all)[index];
#endif
  return plain_loops(all)[index];
}

} // namespace

void racing_convert(std::byte* to, const std::byte* from, std::uint64_t bytes,
                    const element_conversion& as, copy_mode mode) noexcept {
  alignas(64) std::byte read[block_elements * 4];
  alignas(64) std::byte made[block_elements * 4];
  const auto convert = loop_for(as);
  const std::uint64_t step = block_elements * size_of(as.from);
  for (std::uint64_t at = 0; at < bytes; at += step) {
    const auto piece = std::min(step, bytes - at);
    racing_copy(read, from + at, piece, copy_mode::cached);
    convert(made, read, piece / size_of(as.from), as.factor);
    racing_copy(to + as.written(at), made, as.written(piece), mode);
  }
}

} // namespace baton
