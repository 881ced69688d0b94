#include "actors/block_owner.hpp"

#include <algorithm>

#include "transport/plan/direct_pair.hpp"

namespace baton {
namespace {

expected<rank_pair> pair_of_roles(const own_instance& own, const std::vector<rank_layout>& theirs,
                                  const rank_layout& owner) {
  const auto& us = own.layout();
  if (us.role == instance_role::context)
    return fail(errc::invalid_argument,
                "blocks of generation rank {} of '{}' are not read by context ranks; offer those "
                "of a context rank",
                owner.rank, owner.instance);
  if (auto ok = compatible_instances(theirs, own.layouts()); !ok)
    return fail(std::move(ok).error());
  auto row = make_receiver_row(theirs, owner.dp_rank(), own.group_layouts(), us);
  if (!row)
    return fail(std::move(row).error());
  for (auto& source : row->sources)
    if (source.pair.source == owner.rank)
      return std::move(source.pair);
  return rank_pair{owner.rank, us.rank, {}};
}

std::vector<std::string> whole_groups(const rank_layout& us, const rank_pair& pair) {
  std::vector<std::string> whole;
  for (std::uint32_t index = 0; index < us.groups.size(); ++index) {
    std::uint64_t missing = 0;
    for (const auto& buffer : us.groups[index].buffers)
      missing += buffer.head_count;
    for (const auto& part : pair.parts)
      if (part.destination_group == index)
        missing -= part.head_count;
    if (missing == 0)
      whole.push_back(us.groups[index].name);
  }
  return whole;
}

} // namespace

expected<block_owner> find_owner(const own_instance& own, const instance_info& instance,
                                 std::uint32_t rank, incarnation life) {
  if (rank >= instance.ranks.size() || instance.ranks[rank].layout.life != life)
    return fail(errc::peer_lost,
                "rank {} of '{}', which offered the blocks, was restarted; nothing is left of its "
                "offers",
                rank, instance.ranks.front().layout.instance);
  const auto& owner = instance.ranks[rank];
  const auto& us = own.layout();
  const bool alike = owner.layout.role == us.role;
  auto pair = alike ? make_direct_pair(owner.layout, us)
                    : pair_of_roles(own, instance.layouts(), owner.layout);
  if (!pair)
    return fail(std::move(pair).error());
  if (pair->parts.empty())
    return fail(errc::invalid_argument,
                "rank {} of '{}' has no heads or layers for {} rank {} of '{}'; pull what other "
                "ranks of its instance offer",
                rank, owner.layout.instance, to_string(us.role), us.rank, us.instance);
  auto whole = whole_groups(us, *pair);
  if (alike)
    return block_owner{{owner, nullptr}, std::move(whole)};
  return block_owner{{owner, std::make_shared<const rank_pair>(*std::move(pair))},
                     std::move(whole)};
}

} // namespace baton
