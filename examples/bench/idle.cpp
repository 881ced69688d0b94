#include <utility>
#include <vector>

#include "examples/bench/actor_pair.hpp"
#include "examples/bench/cases.hpp"

namespace baton::bench {

namespace {

/// Lets both ranks rest at the same time. @returns percent of a core, context first.
std::pair<double, double> rest(actor_pair& ranks, int milliseconds) {
  ranks.context().tell("rest", milliseconds);
  ranks.generation().tell("rest", milliseconds);
  const auto context = ranks.context().answer().get<double>();
  const auto generation = ranks.generation().answer().get<double>();
  return {100 * context, 100 * generation};
}

} // namespace

findings measure_idle(const settings& how) {
  constexpr double most = 1;
  const auto milliseconds = how.sized(5'000, 200);
  actor_pair ranks{{1, 1, 1}};
  static_cast<void>(ranks.hand_over(0, 1)); // from here on they are connected
  ranks.check();
  static_cast<void>(rest(ranks, milliseconds / 5));
  std::vector<double> context;
  std::vector<double> generation;
  for (std::size_t run = 0; run < how.runs; ++run) {
    const auto used = rest(ranks, milliseconds);
    context.push_back(used.first);
    generation.push_back(used.second);
  }
  ranks.end();
  return {{{"context rank", "% core", summarize(context), at_most(most)},
           {"generation rank", "% core", summarize(generation), at_most(most)}},
          {}};
}

} // namespace baton::bench
