#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "messages/conversion.hpp"
#include "messages/layout.hpp"
#include "messages/layout_check.hpp"

namespace baton {
namespace {

/// One (layer, role, section) as one rank holds it. Borrows from the layouts.
struct holding {
  const rank_layout* rank = nullptr;
  const group_layout* group = nullptr;
  const buffer_layout* buffer = nullptr;
};

/// What is held, by `layer_key`.
using holdings = std::unordered_map<std::uint64_t, holding>;

std::string name(const rank_layout& rank) {
  return fmt::format("{} {} rank {}", to_string(rank.role), rank.instance, rank.rank);
}

template <class Value>
expected<> same(errc code, std::string_view field, const Value& a, const rank_layout& a_rank,
                const Value& b, const rank_layout& b_rank) {
  if (a == b)
    return {};
  return fail(code, "{}: {} in {}, but {} in {}", field, a, name(a_rank), b, name(b_rank));
}

template <class Visit>
expected<> for_each_holding(const rank_layout& rank, Visit visit) {
  for (const auto& group : rank.groups)
    for (const auto& buffer : group.buffers)
      if (expected<> ok = visit(holding{&rank, &group, &buffer}); !ok)
        return ok;
  return {};
}

std::string_view kind_of(const group_layout& group) {
  return group.tokens_per_block == 0 ? "state (0)" : "blocks";
}

/// Types agree within an instance; between two, the context's may be convertible.
expected<> agree_on_type(errc code, const holding& a, const holding& b) {
  const bool forth = a.rank->role == instance_role::context;
  const auto from = (forth ? a : b).buffer->type;
  const auto to = (forth ? b : a).buffer->type;
  const bool same_side = a.rank->role == b.rank->role;
  if (same_side ? from == to : can_hand_over(from, to))
    return {};
  const auto field = fmt::format("{}: type", describe(*a.buffer));
  auto refused =
      same(code, field, to_string(a.buffer->type), *a.rank, to_string(b.buffer->type), *b.rank);
  return same_side ? refused
                   : fail(code, "{}; {}", refused.error().text, describe_conversions(from));
}

/// What must agree wherever a (layer, role, section) is held.
expected<> agree(errc code, const holding& a, const holding& b) {
  const auto check = [&](std::string_view field, const auto& left, const auto& right) {
    if (left == right)
      return expected<>{};
    return same(code, fmt::format("{}: {}", describe(*a.buffer), field), left, *a.rank, right,
                *b.rank);
  };
  if (auto ok = check("group name", a.group->name, b.group->name); !ok)
    return ok;
  if (auto ok = check("tokens_per_block", kind_of(*a.group), kind_of(*b.group)); !ok)
    return ok;
  if (auto ok = check("window", a.group->window, b.group->window); !ok)
    return ok;
  if (auto ok = check("total_heads", a.buffer->total_heads, b.buffer->total_heads); !ok)
    return ok;
  if (auto ok = check("head_dim", a.buffer->head_dim, b.buffer->head_dim); !ok)
    return ok;
  return agree_on_type(code, a, b);
}

/// Enters what a rank holds; what is there already must agree.
expected<> merge(errc code, holdings& all, const rank_layout& rank) {
  return for_each_holding(rank, [&](const holding& mine) {
    const auto [known, added] = all.emplace(layer_key(*mine.buffer), mine);
    return added ? expected<>{} : agree(code, known->second, mine);
  });
}

expected<> same_instance(const rank_layout& first, const rank_layout& rank) {
  constexpr auto code = errc::invalid_argument;
  if (auto ok = same(code, "instance", first.instance, first, rank.instance, rank); !ok)
    return ok;
  if (auto ok = same(code, "role", to_string(first.role), first, to_string(rank.role), rank); !ok)
    return ok;
  if (auto ok = same(code, "model", first.model, first, rank.model, rank); !ok)
    return ok;
  if (auto ok = same(code, "tp_size", first.tp_size, first, rank.tp_size, rank); !ok)
    return ok;
  if (auto ok = same(code, "pp_size", first.pp_size, first, rank.pp_size, rank); !ok)
    return ok;
  return same(code, "attention_dp", first.attention_dp, first, rank.attention_dp, rank);
}

expected<> same_instance(std::span<const rank_layout> ranks) {
  if (ranks.empty())
    return fail(errc::invalid_argument, "ranks: an instance must have at least one");
  const auto& first = ranks.front();
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (auto ok = same_instance(first, ranks[i]); !ok)
      return ok;
    if (ranks[i].rank != i)
      return fail(errc::invalid_argument,
                  "rank: {} in the place of rank {}; every rank once, in order", name(ranks[i]), i);
  }
  if (ranks.size() != first.ranks())
    return fail(errc::invalid_argument, "ranks: {} given, but tp_size * pp_size = {} in {}",
                ranks.size(), first.ranks(), name(first));
  return {};
}

/// Heads `[begin, end)` of one (layer, role, section), held in one dp group.
struct head_span {
  std::uint32_t dp = 0;
  std::uint64_t key = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

std::vector<head_span> head_spans(std::span<const rank_layout> ranks) {
  std::vector<head_span> out;
  for (const auto& rank : ranks)
    for (const auto& group : rank.groups)
      for (const auto& buffer : group.buffers)
        out.push_back({rank.dp_rank(), layer_key(buffer), buffer.first_head,
                       std::uint64_t{buffer.first_head} + buffer.head_count});
  std::sort(out.begin(), out.end(), [](const head_span& a, const head_span& b) {
    return std::tie(a.dp, a.key, a.begin) < std::tie(b.dp, b.key, b.begin);
  });
  return out;
}

std::vector<const holding*> in_order(const holdings& all) {
  std::vector<const holding*> out;
  for (const auto& [key, held] : all)
    out.push_back(&held);
  std::sort(out.begin(), out.end(), [](const holding* a, const holding* b) {
    return layer_key(*a->buffer) < layer_key(*b->buffer);
  });
  return out;
}

/// Every dp group must hold every head of all that the instance holds.
expected<> check_coverage(std::span<const rank_layout> ranks, const holdings& all) {
  const auto spans = head_spans(ranks);
  const auto wanted = in_order(all);
  auto next = spans.begin();
  for (std::uint32_t dp = 0; dp < ranks.front().dp_size(); ++dp)
    for (const auto* held : wanted) {
      std::uint64_t covered = 0;
      for (; next != spans.end() && next->dp == dp && next->key == layer_key(*held->buffer); ++next)
        if (next->begin <= covered)
          covered = std::max(covered, next->end);
      if (covered < held->buffer->total_heads)
        return fail(errc::invalid_argument,
                    "{}: head {} is held by no rank of dp group {} of {} {}; {} declares {} heads",
                    describe(*held->buffer), covered, dp, to_string(held->rank->role),
                    held->rank->instance, name(*held->rank), held->buffer->total_heads);
    }
  return {};
}

/// Everything in `mine` must be in `theirs`, and agree.
expected<> match(const holdings& mine, const holdings& theirs, const rank_layout& their_rank) {
  for (const auto* held : in_order(mine)) {
    const auto other = theirs.find(layer_key(*held->buffer));
    if (other == theirs.end())
      return fail(errc::incompatible_layout, "{}: held by {}, but by no rank of {} {}",
                  describe(*held->buffer), name(*held->rank), to_string(their_rank.role),
                  their_rank.instance);
    if (auto ok = agree(errc::incompatible_layout, *held, other->second); !ok)
      return ok;
  }
  return {};
}

expected<> same_scales(std::span<const rank_layout> a, std::span<const rank_layout> b) {
  const std::array sides{a, b};
  return check_same_scales(errc::incompatible_layout, sides);
}

expected<> same_model(const rank_layout& a, const rank_layout& b) {
  return same(errc::incompatible_layout, "model", a.model, a, b.model, b);
}

} // namespace

expected<> compatible(const rank_layout& a, const rank_layout& b) {
  if (auto ok = same_model(a, b); !ok)
    return ok;
  holdings ours;
  if (auto ok = merge(errc::incompatible_layout, ours, a); !ok)
    return ok;
  auto agreed = for_each_holding(b, [&](const holding& theirs) {
    const auto mine = ours.find(layer_key(*theirs.buffer));
    return mine == ours.end() ? expected<>{}
                              : agree(errc::incompatible_layout, mine->second, theirs);
  });
  return agreed ? same_scales({&a, 1}, {&b, 1}) : agreed;
}

expected<> validate_instance(std::span<const rank_layout> ranks) {
  if (auto ok = same_instance(ranks); !ok)
    return ok;
  holdings all;
  for (const auto& rank : ranks)
    if (auto ok = merge(errc::invalid_argument, all, rank); !ok)
      return ok;
  if (auto ok = check_same_scales(errc::invalid_argument, {&ranks, 1}); !ok)
    return ok;
  return check_coverage(ranks, all);
}

expected<> compatible_instances(std::span<const rank_layout> context,
                                std::span<const rank_layout> generation) {
  if (context.empty() || generation.empty())
    return fail(errc::incompatible_layout, "ranks: the {} instance has none",
                context.empty() ? "context" : "generation");
  if (auto ok = same_model(context.front(), generation.front()); !ok)
    return ok;
  holdings given;
  holdings taken;
  for (const auto& rank : context)
    if (auto ok = merge(errc::incompatible_layout, given, rank); !ok)
      return ok;
  for (const auto& rank : generation)
    if (auto ok = merge(errc::incompatible_layout, taken, rank); !ok)
      return ok;
  if (auto ok = match(given, taken, generation.front()); !ok)
    return ok;
  if (auto ok = match(taken, given, context.front()); !ok)
    return ok;
  return same_scales(context, generation);
}

} // namespace baton
