#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>

#include "actors/actors.hpp"
#include "actors/agreement_board.hpp"
#include "messages/layout.hpp"

namespace baton {

/// The directory's part in the agreement: one board for each dp group, and who votes for which
/// rank.
class agreement_host {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// @param first  the layout of rank 0.
  agreement_host(const rank_layout& first, const transceiver_options& options);

  /// Takes a vote, and sends verdicts to whom they concern. Returns the voter if it must be
  /// monitored from now on.
  [[nodiscard]] std::optional<member_actor> vote(time_point now, agreement_vote vote,
                                                 member_actor voter);
  /// A voter has ended, or cannot be reached.
  void lost(time_point now, const caf::actor_addr& voter);
  /// Whether `tick` must be called from now on.
  [[nodiscard]] bool start_ticking() noexcept;
  /// Looks who is late. Returns whether to call again.
  [[nodiscard]] bool tick(time_point now);

private:
  struct present {
    incarnation life;
    member_actor voter;
  };

  [[nodiscard]] agreement_board& board_of(std::uint32_t rank);
  void send(agreement_board& board);
  [[nodiscard]] bool busy() const noexcept;

  std::uint32_t groups_;
  std::uint32_t tp_size_;
  std::map<std::uint32_t, agreement_board> boards_; ///< by dp group
  std::map<std::uint32_t, present> voters_;         ///< by rank
  bool ticking_ = false;
};

} // namespace baton
