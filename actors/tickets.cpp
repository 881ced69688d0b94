#include "actors/tickets.hpp"

#include <algorithm>
#include <utility>

#include "transport/plan/block_tables.hpp"

namespace baton {
namespace {

/// Appends the grant of what is wanted of one slice. @returns whether its beams fit.
bool append_grant(std::vector<slice_grant>& grants, const request_ticket& ticket,
                  const rank_ticket& from, const std::vector<group_range>& wants) {
  const auto& slice = from.slices[grants.size()];
  slice_grant grant;
  grant.offer = from.offer;
  grant.slice = static_cast<std::uint32_t>(grants.size());
  grant.last = grants.size() + 1 == from.slices.size();
  grant.right = slice.right;
  for (const auto& range : slice.ranges) {
    const auto& table = ticket.tables[range.table];
    const auto want = std::ranges::find(wants, table.group, &group_range::group);
    if (want == wants.end())
      continue;
    const auto tokens = intersect(want->tokens, range.tokens);
    const auto layers = common_layers(want->layers, range.layers);
    if (tokens.empty() || layers.empty())
      continue;
    if (want->tails.size() != table.tails.size())
      return false;
    grant.ranges.push_back({want->group, tokens, want->tails, layers});
    grant.blocks.push_back(table);
  }
  grants.push_back(std::move(grant));
  return true;
}

bool covers_all(const std::vector<slice_grant>& grants, const source_route& source,
                const std::vector<group_range>& wants) {
  for (std::size_t i = 0; i < source.groups.size(); ++i) {
    const auto want = std::ranges::find(wants, source.groups[i], &group_range::group);
    if (want == wants.end() || want->tokens.empty())
      continue;
    std::vector<const group_range*> pieces;
    for (const auto& grant : grants)
      for (const auto& range : grant.ranges)
        if (range.group == want->group)
          pieces.push_back(&range);
    if (first_gap(source.layers[i], *want, std::move(pieces)))
      return false;
  }
  return true;
}

} // namespace

grant_spec bearer_grant(const send_slice& slice, const std::vector<std::string>& states) {
  grant_spec grant;
  for (const auto& table : slice.blocks) {
    const bool state = std::ranges::find(states, table.group) != states.end();
    auto tokens = state ? state_slot : slice.tokens;
    tokens.begin = std::max(tokens.begin, table.first_block_token);
    if (table.blocks.empty() || tokens.begin >= tokens.end || (state && !slice.last))
      continue;
    grant.ranges.push_back({table.group, tokens, {}, state ? layer_range{} : slice.layers});
    grant.blocks.push_back(table);
  }
  return grant;
}

void add_slice(request_ticket& ticket, grant_spec granted, const lease& right) {
  ticket_slice slice{right, {}};
  for (std::size_t i = 0; i < granted.ranges.size(); ++i) {
    slice.ranges.push_back({static_cast<std::uint32_t>(ticket.tables.size()),
                            granted.ranges[i].tokens, granted.ranges[i].layers});
    ticket.tables.push_back(std::move(granted.blocks[i]));
  }
  ticket.ranks.front().slices.push_back(std::move(slice));
}

std::vector<slice_grant> grants_of(const request_ticket& ticket, request_id request, pull_id pull,
                                   const source_route& source,
                                   const std::vector<group_range>& wants) {
  const auto from = std::ranges::find(ticket.ranks, source.rank, &rank_ticket::rank);
  if (ticket.request != request || from == ticket.ranks.end() || from->life != source.peer ||
      (source.carries_aux && from->aux_left_out))
    return {};
  std::vector<slice_grant> grants;
  while (grants.size() < from->slices.size())
    if (!append_grant(grants, ticket, *from, wants))
      return {};
  if (!covers_all(grants, source, wants))
    return {};
  for (auto& grant : grants) {
    grant.request = request;
    grant.pull = pull;
  }
  if (source.carries_aux && from->aux)
    grants.back().aux = ticket.aux[*from->aux];
  return grants;
}

} // namespace baton
