#include "actors/acquaintance.hpp"

namespace baton {

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
  acquaintance result;
  result.card = {them.layout.life, them.layout, them.manifest, nullptr, nullptr};
  result.digest = intro.digest;
  if (told.pair)
    result.card.pull = std::make_shared<const planner>(them.layout, own.layout(), *told.pair);
  return result;
}

} // namespace baton
