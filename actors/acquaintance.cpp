#include "actors/acquaintance.hpp"

#include "transport/plan/direct_pair.hpp"

namespace baton {
namespace {

/// Plans for all that two ranks hold both; null if that is nothing.
expected<std::shared_ptr<const planner>> direct_plans(const rank_layout& source,
                                                      const rank_layout& destination) {
  auto pair = make_direct_pair(source, destination);
  if (!pair)
    return fail(std::move(pair).error());
  if (pair->parts.empty())
    return nullptr;
  return std::make_shared<const planner>(source, destination, *std::move(pair));
}

} // namespace

expected<acquaintance> acquaint(const own_instance& own, const source_contact& told,
                                const introduction& intro) {
  const auto& them = intro.self;
  const auto& expected = told.rank.layout;
  if (them.layout.life != expected.life)
    return fail(errc::peer_lost, "rank {} of '{}' was restarted", expected.rank, expected.instance);
  if (them.layout != expected)
    return fail(errc::incompatible_layout,
                "rank {} of '{}' introduces itself with another layout than its directory knows; "
                "start it again",
                expected.rank, expected.instance);
  if (them.layout.role == own.layout().role)
    return acquaint_alike(own, them);
  acquaintance result;
  result.card = {them.layout.life, them.layout, them.manifest, nullptr, nullptr};
  result.digest = intro.digest;
  if (told.pair)
    result.card.pull = std::make_shared<const planner>(them.layout, own.layout(), *told.pair);
  return result;
}

expected<acquaintance> acquaint_alike(const own_instance& own, const rank_info& peer) {
  const auto& us = own.layout();
  const auto& them = peer.layout;
  if (them.role != us.role)
    return fail(errc::invalid_argument, "'{}' is a {} instance, and '{}' is none", us.instance,
                to_string(us.role), them.instance);
  if (them.life == us.life)
    return fail(errc::invalid_argument, "rank {} of '{}' introduces itself to itself", us.rank,
                us.instance);
  auto pull = direct_plans(them, us);
  if (!pull)
    return fail(std::move(pull).error());
  auto serve = direct_plans(us, them);
  if (!serve)
    return fail(std::move(serve).error());
  acquaintance result;
  result.card = {them.life, them, peer.manifest, *std::move(pull), *std::move(serve)};
  return result;
}

} // namespace baton
