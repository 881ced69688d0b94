#include "actors/agreement_host.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace baton {

agreement_host::agreement_host(const rank_layout& first, const transceiver_options& options)
    : groups_{first.dp_size()}, tp_size_{first.tp_size} {
  std::map<std::uint32_t, std::vector<std::uint32_t>> members;
  for (std::uint32_t rank = 0; rank < first.ranks(); ++rank)
    members[groups_ == 1 ? 0 : rank % tp_size_].push_back(rank);
  for (const auto& [group, ranks] : members)
    boards_.emplace(group,
                    agreement_board{ranks, options.agreement.patience, agreement_margin(options)});
}

agreement_board& agreement_host::board_of(std::uint32_t rank) {
  return boards_.at(groups_ == 1 ? 0 : rank % tp_size_);
}

std::optional<member_actor> agreement_host::vote(time_point now, agreement_vote vote,
                                                 member_actor voter) {
  const auto rank = vote.rank;
  auto& known = voters_[rank];
  const bool fresh = known.voter != voter;
  known = {vote.life, voter};
  auto& board = board_of(rank);
  board.vote(now, std::move(vote));
  send(board);
  return fresh ? std::optional{std::move(voter)} : std::nullopt;
}

void agreement_host::lost(time_point now, const caf::actor_addr& voter) {
  const auto known = std::find_if(voters_.begin(), voters_.end(), [&](const auto& each) {
    return each.second.voter.address() == voter;
  });
  if (known == voters_.end())
    return;
  auto& board = board_of(known->first);
  board.lost(now, known->first, known->second.life);
  voters_.erase(known);
  send(board);
}

void agreement_host::send(agreement_board& board) {
  for (const auto& reply : board.take_replies())
    if (const auto known = voters_.find(reply.rank); known != voters_.end())
      caf::anon_send(known->second.voter, atom::agreed_v, encode(reply.verdict));
}

bool agreement_host::busy() const noexcept {
  return std::any_of(boards_.begin(), boards_.end(),
                     [](const auto& each) { return each.second.busy(); });
}

bool agreement_host::start_ticking() noexcept {
  return busy() && !std::exchange(ticking_, true);
}

bool agreement_host::tick(time_point now) {
  for (auto& [group, board] : boards_) {
    board.sweep(now);
    send(board);
  }
  return ticking_ = busy();
}

} // namespace baton
