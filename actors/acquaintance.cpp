#include "actors/acquaintance.hpp"

namespace baton {

expected<acquaintance> acquaint(const instance_info& own, std::uint32_t own_rank,
                                const instance_info& theirs, std::uint32_t their_rank) {
  const auto& us = own.ranks.at(own_rank).layout;
  const auto& them = theirs.ranks.at(their_rank);
  if (us.role == them.layout.role)
    return fail(errc::invalid_argument, "both '{}' and '{}' are {} instances", us.instance,
                them.layout.instance, to_string(us.role));
  const bool we_serve = us.role == instance_role::context;
  const auto ours = own.layouts();
  const auto other = theirs.layouts();
  const auto& context = we_serve ? ours : other;
  const auto& generation = we_serve ? other : ours;
  if (auto ok = compatible_instances(context, generation); !ok)
    return fail(ok.error());
  const auto source = we_serve ? own_rank : their_rank;
  const auto destination = we_serve ? their_rank : own_rank;
  auto table =
      make_pairs(context, context[source].dp_rank(), generation, generation[destination].dp_rank());
  if (!table)
    return fail(table.error());
  acquaintance result;
  result.card.life = them.layout.life;
  result.card.layout = them.layout;
  result.card.manifest = them.manifest;
  result.digest = digest(other);
  if (we_serve)
    result.receivers = table->receivers_of(source);
  if (const auto* pair = table->find(source, destination)) {
    auto plans = std::make_shared<const planner>(context[source], generation[destination], *pair);
    (we_serve ? result.card.serve : result.card.pull) = std::move(plans);
  }
  return result;
}

} // namespace baton
