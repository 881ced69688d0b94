#include "examples/handoff/scenario_check.hpp"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "examples/handoff/blocks.hpp"
#include "transport/plan/pairs.hpp"

namespace baton::handoff {

namespace {

using instances = per_side<std::vector<rank_layout>>;

/// Layers of all ranks of one side: what is said of each takes memory.
constexpr std::uint64_t most_layers = 1u << 20;

expected<std::vector<rank_layout>> build_side(const scenario& run, instance_role side) {
  if (const auto tp = run.sides[side].tp; std::uint64_t{tp} * run.model.layers > most_layers)
    return fail(errc::invalid_argument,
                "{}.tp: {} ranks that hold {} layers are more than {} layers; use fewer",
                to_string(side), tp, run.model.layers, most_layers);
  auto ranks = build_instance(run.model, run.sides[side], side, std::string{to_string(side)});
  if (!ranks)
    return ranks;
  for (const auto& rank : *ranks)
    if (auto valid = validate(rank); !valid)
      return fail(errc::invalid_argument, "{}: rank {}: {}", to_string(side), rank.rank,
                  valid.error().text);
  if (auto valid = validate_instance(*ranks); !valid)
    return fail(errc::invalid_argument, "{}: {}", to_string(side), valid.error().text);
  if (auto enough = check_blocks(run, side, *ranks); !enough)
    return fail(std::move(enough.error()));
  return ranks;
}

/// Whether a context rank grants anything of this request. One whose cache others hold as well may
/// be left alone.
expected<bool> is_read(const scenario& run, const instances& ranks, std::uint32_t rank,
                       std::size_t request) {
  const auto pairs = make_pairs(ranks.context, dp_group(run.sides.context, request),
                                ranks.generation, dp_group(run.sides.generation, request));
  if (!pairs)
    return fail(pairs.error());
  return !pairs->receivers_of(rank).empty();
}

expected<> check_fault(const scenario& run, const instances& ranks, std::size_t index) {
  const auto& fault = run.faults[index];
  const auto request = request_index(run, fault.request);
  if (!takes_part(run.sides[fault.who.side], fault.who.rank, request))
    return fail(errc::invalid_argument,
                "faults[{}].request: {} has no part in request {}, which belongs to dp group {}; "
                "name another rank or request",
                index, to_string(fault.who), fault.request,
                dp_group(run.sides[fault.who.side], request));
  if (fault.who.side == instance_role::generation || fault.at < probe_point::granted)
    return {};
  const auto read = is_read(run, ranks, fault.who.rank, request);
  if (!read)
    return fail(read.error());
  if (!*read)
    return fail(errc::invalid_argument,
                "faults[{}].request: no rank reads request {} from {}, so it never comes to that "
                "point; name another rank or point",
                index, fault.request, to_string(fault.who));
  return {};
}

} // namespace

expected<> check_ranks(const scenario& run) {
  instances ranks;
  for (auto side : both_sides) {
    auto built = build_side(run, side);
    if (!built)
      return fail(std::move(built.error()));
    ranks[side] = std::move(*built);
  }
  if (auto fits = compatible_instances(ranks.context, ranks.generation); !fits)
    return fits;
  for (std::size_t i = 0; i < run.faults.size(); ++i)
    if (auto possible = check_fault(run, ranks, i); !possible)
      return possible;
  return {};
}

} // namespace baton::handoff
