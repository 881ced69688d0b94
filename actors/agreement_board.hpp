#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "actors/options.hpp"
#include "messages/agreement.hpp"

namespace baton {

/// Where the ranks of one dp group find out what all of them have; lives with the directory.
///
/// Each rank votes once in each of its calls: "this is my n-th, and since the last one I know of
/// these". A round is the n-th call of every rank, and every rank is given the same verdict on it:
///
///     waiting for votes -> waiting for what the calls want -> verdict, to all; next round
///        |  a rank is late or lost       |  the calls' time is up
///        +-------------------------------+--> verdict on what is known
///
/// - A request is in a verdict as complete (or ready) when all ranks have reported it, and as
///   failed when one has, or when a rank was lost before it reported it, or did not until long
///   after the deadline on the others.
/// - A rank is waited for at most for `patience`, then it is late, and not waited for until it
/// votes
///   again. Its next calls find the verdicts that it missed, one each and at once; if it is far
///   behind, the next one finds all of them, and it goes along with the others from then on.
/// - A rank that was restarted joins in the round that is open.
///
/// Time is passed in. Not thread-safe.
class agreement_board {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// A verdict, and for whom.
  struct reply {
    std::uint32_t rank = 0;
    agreement_verdict verdict;
  };

  /// @param ranks   of the dp group.
  /// @param margin  how long after its deadline on one rank a request may take on another.
  agreement_board(const std::vector<std::uint32_t>& ranks, std::chrono::milliseconds patience,
                  std::chrono::milliseconds margin);

  /// Takes a vote of a rank of this group; one of another life of the rank makes that the present
  /// one.
  void vote(time_point now, agreement_vote vote);
  /// A life of a rank has ended, or cannot be reached.
  void lost(time_point now, std::uint32_t rank, incarnation life);
  /// Looks whose patience is over.
  void sweep(time_point now);
  /// Takes the verdicts that were reached since the last call.
  [[nodiscard]] std::vector<reply> take_replies();
  /// Whether something here waits for time to pass.
  [[nodiscard]] bool busy() const noexcept;

private:
  struct call {
    std::uint64_t round = 0;
    std::uint64_t attempt = 0;
    std::uint32_t at_least = 0;
    bool open = false;
    time_point begin; ///< of the first vote of the round
    time_point gives_up;
  };

  struct member_topic {
    bool joined = false;
    /// What its numbers lack to those of the others, if it was restarted or fell behind; wraps
    /// around.
    std::uint64_t offset = 0;
    std::uint64_t voted = 0; ///< the last round that it voted in
    std::uint64_t seen = 0;  ///< the last round whose verdict it has
    bool late = false;
    std::optional<call> waiting;
  };

  struct member {
    incarnation life;
    bool lost = false;
    bool restarted = false;
    std::array<member_topic, 2> topics;
    std::size_t pending = 0; ///< requests that it has reported as ended, and others not yet
  };

  struct topic_state {
    std::uint64_t next = 1;                                        ///< rounds before are over
    std::map<std::uint64_t, std::vector<agreement_item>> verdicts; ///< that some have not seen
    std::vector<agreement_item> settled;                           ///< for the open round
  };

  struct entry {
    std::set<std::uint32_t> ended; ///< ranks that reported it as complete
    std::set<std::uint32_t> ready;
    time_point expires;
  };

  using members = std::map<std::uint32_t, member>;
  using entries = std::unordered_map<request_id, entry>;

  void join(time_point now, std::uint32_t rank, member& who, incarnation life);
  void join(agreement_topic topic, member& who, std::uint64_t round);
  void report(time_point now, std::uint32_t rank, member& who, const agreement_vote& vote);
  /// Whether a verdict on the request is on its way to a rank that has seen those up to `seen`.
  [[nodiscard]] bool decided(request_id request, std::uint64_t seen) const;
  /// Looks whether all ranks have what one has reported.
  void look(entries::iterator at);
  void settle(agreement_topic topic, request_id request, std::optional<error> failure);
  void erase(entries::iterator at);
  void decide(time_point now, agreement_topic topic);
  /// Decides the oldest round that is called for. Returns whether that could be done.
  [[nodiscard]] bool decide_one(time_point now, agreement_topic topic);
  /// Whether nobody need be waited for in this round any longer.
  [[nodiscard]] bool all_voted(time_point now, agreement_topic topic, std::uint64_t round);
  [[nodiscard]] static bool satisfied(time_point now, const member& who, const call& wish,
                                      const topic_state& state);
  /// Returns the oldest round that a rank waits for.
  [[nodiscard]] std::optional<std::uint64_t> called_for(agreement_topic topic) const;
  /// Answers a call of a round that is over.
  void answer(agreement_topic topic, std::uint32_t rank, member& who);
  void forget_seen(agreement_topic topic);
  /// Forgets the verdicts of rounds up to this one.
  void forget(agreement_topic topic, std::uint64_t round);

  members members_;
  std::chrono::milliseconds patience_;
  std::chrono::milliseconds margin_;
  std::array<topic_state, 2> topics_;
  entries entries_;
  /// Requests that are settled as ended: in which round, or `undecided`.
  std::unordered_map<request_id, std::uint64_t> decided_;
  std::vector<reply> replies_;
};

} // namespace baton
