#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include "messages/conversion.hpp"
#include "messages/layout.hpp"
#include "messages/wire.hpp"

namespace baton::test {

/// An element of a stored type as the bits of a wider number; stored and read unaligned.
[[nodiscard]] std::uint32_t read_element(const std::byte* from, element_type type);
void write_element(std::byte* to, element_type type, std::uint32_t element);

/// One element by the rules of messages/convert_bits.hpp; as it is if no conversion is needed.
[[nodiscard]] std::uint32_t by_the_rules(const element_conversion& as, std::uint32_t element);

/// One element of a cache whose content is a function of all its coordinates: any bits of its type.
[[nodiscard]] std::uint32_t content(const buffer_layout& buffer, std::uint32_t head,
                                    std::uint32_t token, std::uint32_t dim, element_type type);

/// Where the pools of a rank lie.
using pool_bytes = std::vector<std::byte*>;

/// The type that the source keeps a buffer in.
using source_type = std::function<element_type(const buffer_layout&)>;

/// Writes the content of a request's tokens into all blocks of a rank that hold them: as the source
/// keeps it, converted to the rank's own types.
///
/// @param tables of the rank, for all its groups; tokens of state groups are {0, 1}.
void write_content(const rank_layout& rank, const std::vector<group_blocks>& tables,
                   const std::vector<group_range>& tokens, const source_type& from,
                   const pool_bytes& pools);

/// Gives the fp8_e4m3 buffers of an instance scales, each head the same on all ranks: none, one for
/// a buffer, or one per head.
void draw_scales(std::mt19937_64& random, std::vector<rank_layout>& ranks);

} // namespace baton::test
