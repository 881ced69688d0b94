#pragma once

// Internal to messages/: the parts that `validate` and the decoders share.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "messages/error.hpp"
#include "messages/layout.hpp"

namespace baton {

/// How much overlap detection may look at: contiguous pieces of memory, after all merging. A
/// million take about a third of a second.
inline constexpr std::size_t layout_work = 1u << 20;
/// The same for all ranks of a decoded instance together.
inline constexpr std::size_t instance_work = 1u << 24;

/// `validate`, at the expense of a budget shared with others; lowers `work` by what it used, never
/// by more than `layout_work`.
[[nodiscard]] expected<> validate(const rank_layout& layout, std::size_t& work);

/// Refuses buffers of which two rows share a byte, of whichever buffers, slots, heads or tokens.
/// Exact. Every buffer must fit its pool.
///
/// @param work  pieces that may be looked at; lowered by those that were.
/// @returns `invalid_argument`; also when the layout is too intricate to be decided with `work`.
[[nodiscard]] expected<> check_overlaps(const rank_layout& layout, std::size_t& work);

/// Names a buffer in texts: `groups[0].buffers[3]`. Written out only where a text is made.
struct buffer_field {
  std::size_t group = 0;
  std::size_t buffer = 0;
};

/// Refuses scales that are out of place, too many or too few, or not within their bounds.
[[nodiscard]] expected<> check_scales(buffer_field field, const buffer_layout& buffer);

/// Refuses fp8_e4m3 buffers that disagree about the scale of a head, of all ranks together.
///
/// @returns `code`; the text names both ranks and values.
[[nodiscard]] expected<> check_same_scales(errc code,
                                           std::span<const std::span<const rank_layout>> instances);

/// An `invalid_argument`; the text starts with the field's name.
template <class... Args>
[[nodiscard]] auto refuse(fmt::format_string<Args...> format, Args&&... args) {
  return fail(errc::invalid_argument, format, std::forward<Args>(args)...);
}

/// Refuses a name that is empty or too long; `field` is named in the text.
[[nodiscard]] expected<> check_name(std::string_view field, std::string_view name);

/// Returns how many tokens one slot of a group takes; 1 for state.
[[nodiscard]] constexpr std::uint32_t tokens_per_slot(const group_layout& group) noexcept {
  return group.tokens_per_block == 0 ? 1 : group.tokens_per_block;
}

/// Returns a number that is unique to a layer, a role and a section, and sorts like them.
[[nodiscard]] constexpr std::uint64_t layer_key(const buffer_layout& buffer) noexcept {
  static_assert(layout_limits::sections <= 256);
  return std::uint64_t{buffer.layer} << 16 | std::uint64_t(buffer.role) << 8 | buffer.section;
}

/// Returns what a buffer holds, for texts: "layer 3 conv section 1".
[[nodiscard]] std::string describe(const buffer_layout& buffer);

} // namespace baton

template <>
struct fmt::formatter<baton::buffer_field> : fmt::formatter<std::string_view> {
  auto format(const baton::buffer_field& field, format_context& context) const {
    return fmt::format_to(context.out(), "groups[{}].buffers[{}]", field.group, field.buffer);
  }
};
