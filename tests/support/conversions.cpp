#include "tests/support/conversions.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "messages/convert_bits.hpp"

namespace baton::test {
namespace {

using rule = std::uint32_t (*)(std::uint32_t element, float factor);

template <std::size_t... index>
constexpr auto all_rules(std::index_sequence<index...>) {
  return std::array<rule, sizeof...(index)>{
      bits::converted<conversions[index].from, conversions[index].to>...};
}

std::uint64_t hash_of(std::initializer_list<std::uint64_t> values) {
  std::uint64_t hash = 0;
  for (auto value : values)
    hash = (hash ^ value) * 0x9E3779B97F4A7C15 + (hash >> 31);
  return hash;
}

const group_blocks& table_of(const std::vector<group_blocks>& tables, const std::string& group) {
  return *std::ranges::find(tables, group, &group_blocks::group);
}

} // namespace

std::uint32_t read_element(const std::byte* from, element_type type) {
  std::uint32_t element = 0;
  std::memcpy(&element, from, size_of(type));
  return element;
}

void write_element(std::byte* to, element_type type, std::uint32_t element) {
  std::memcpy(to, &element, size_of(type));
}

std::uint32_t by_the_rules(const element_conversion& as, std::uint32_t element) {
  static constexpr auto rules = all_rules(std::make_index_sequence<conversions.size()>{});
  return as.needed() ? rules.at(conversion_index(as.from, as.to))(element, as.factor) : element;
}

std::uint32_t content(const buffer_layout& buffer, std::uint32_t head, std::uint32_t token,
                      std::uint32_t dim, element_type type) {
  const auto hash =
      hash_of({buffer.layer, static_cast<std::uint64_t>(buffer.role), head, token, dim});
  return static_cast<std::uint32_t>(hash >> 32) >> (32 - 8 * size_of(type));
}

void write_content(const rank_layout& rank, const std::vector<group_blocks>& tables,
                   const std::vector<group_range>& tokens, const source_type& from,
                   const pool_bytes& pools) {
  for (const auto& range : tokens) {
    const auto index = rank.find_group(range.group);
    if (!index)
      continue;
    const auto& group = rank.groups[*index];
    const auto& table = table_of(tables, range.group);
    const auto per_block = std::max(group.tokens_per_block, 1u);
    for (const auto& buffer : group.buffers)
      for (auto token = range.tokens.begin; token < range.tokens.end; ++token)
        for (std::uint32_t i = 0; i < buffer.head_count; ++i) {
          const auto head = buffer.first_head + i;
          const std::uint64_t slot = table.blocks[(token - table.first_block_token) / per_block];
          auto* row = pools[buffer.pool] + buffer.offset + slot * buffer.slot_stride +
                      i * buffer.head_stride + token % per_block * buffer.token_stride;
          element_conversion as{from(buffer), buffer.type, 1.0f / buffer.scale_of(head)};
          for (std::uint32_t dim = 0; dim < buffer.head_dim; ++dim)
            write_element(row + std::size_t{dim} * size_of(buffer.type), buffer.type,
                          by_the_rules(as, content(buffer, head, token, dim, as.from)));
        }
  }
}

void draw_scales(std::mt19937_64& random, std::vector<rank_layout>& ranks) {
  const auto kind = random() % 3;
  const auto seed = random();
  const auto draw = [&](const buffer_layout& buffer, std::uint32_t head) {
    const auto hash = hash_of(
        {seed, buffer.layer, static_cast<std::uint64_t>(buffer.role), kind == 2 ? head : 0});
    // Neighbours often have the same one.
    return 0.01f + 0.013f * static_cast<float>(hash >> 40 & 3);
  };
  for (auto& rank : ranks)
    for (auto& group : rank.groups)
      for (auto& buffer : group.buffers)
        if (buffer.type == element_type::fp8_e4m3 && kind > 0)
          for (std::uint32_t i = 0; i < (kind == 1 ? 1 : buffer.head_count); ++i)
            buffer.scales.push_back(draw(buffer, buffer.first_head + i));
}

} // namespace baton::test
