#include "actors/block_checks.hpp"

#include "transport/plan/block_tables.hpp"

namespace baton {

expected<> check_blocks(const rank_layout& layout, const group_layout& group,
                        std::string_view subject, std::string_view beam, std::uint32_t first,
                        const std::vector<std::uint32_t>& blocks) {
  if (!group.is_state() && first % group.tokens_per_block != 0)
    return fail(errc::invalid_argument,
                "{}: first_block_token {}{} of group '{}' is not a multiple of its {} tokens per "
                "block",
                subject, first, beam, group.name, group.tokens_per_block);
  const auto slots = slots_of(layout, group);
  for (const auto block : blocks)
    if (block >= slots)
      return fail(errc::invalid_argument,
                  "{}: block id {}{} of group '{}' is outside of its pool of {} slots", subject,
                  block, beam, group.name, slots);
  return {};
}

} // namespace baton
