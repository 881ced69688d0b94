#include "examples/handoff/pattern.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace baton::handoff {

namespace {

static_assert(std::endian::native == std::endian::little, "the pattern is little endian");

template <class Element>
void fill_row(std::uint64_t hash, std::uint64_t first, std::span<std::byte> row) noexcept {
  for (std::size_t at = 0; at + sizeof(Element) <= row.size(); at += sizeof(Element)) {
    const auto bits = static_cast<Element>(splitmix64(hash ^ first++));
    std::memcpy(row.data() + at, &bits, sizeof bits);
  }
}

void fill_elements(std::uint64_t hash, std::uint64_t first, std::uint32_t element_bytes,
                   std::span<std::byte> row) noexcept {
  switch (element_bytes) {
  case 1:
    return fill_row<std::uint8_t>(hash, first, row);
  case 2:
    return fill_row<std::uint16_t>(hash, first, row);
  default:
    return fill_row<std::uint32_t>(hash, first, row);
  }
}

} // namespace

head_pattern::head_pattern(std::uint64_t seed, request_id request, std::uint32_t layer,
                           cache_role role, std::uint32_t head,
                           std::uint32_t element_bytes) noexcept
    : hash_{seed}, element_bytes_{element_bytes} {
  for (std::uint64_t field :
       {request.value, std::uint64_t{layer}, std::uint64_t(role), std::uint64_t{head}})
    hash_ = splitmix64(hash_ ^ field);
}

void head_pattern::fill(std::uint32_t token, std::span<std::byte> row,
                        std::uint32_t first_dim) const noexcept {
  fill_elements(splitmix64(hash_ ^ token), first_dim, element_bytes_, row);
}

std::uint64_t head_pattern::mismatches(std::uint32_t token, std::span<const std::byte> row,
                                       std::uint32_t first_dim) const noexcept {
  const auto hash = splitmix64(hash_ ^ token);
  std::array<std::byte, 1024> wanted;
  std::uint64_t wrong = 0;
  for (std::size_t at = 0; at < row.size(); at += wanted.size()) {
    const auto part = row.subspan(at, std::min(wanted.size(), row.size() - at));
    fill_elements(hash, first_dim + at / element_bytes_, element_bytes_,
                  {wanted.data(), part.size()});
    if (std::memcmp(part.data(), wanted.data(), part.size()) != 0)
      for (std::size_t i = 0; i < part.size(); ++i)
        wrong += part[i] != wanted[i];
  }
  return wrong;
}

std::uint64_t touched_bytes(std::span<const std::byte> bytes) noexcept {
  if (bytes.empty() || (bytes.front() == untouched &&
                        std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0))
    return 0;
  return bytes.size() - static_cast<std::uint64_t>(std::ranges::count(bytes, untouched));
}

} // namespace baton::handoff
