#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "actors/agreement_board.hpp"
#include "actors/agreement_member.hpp"
#include "transport/fake_plane.hpp"

namespace baton::test {

/// What can go wrong between ranks and directory.
struct agreement_faults {
  double loss = 0;
  double repeat = 0;
  std::chrono::microseconds longest_message{1'000};
};

class agreeing_ranks;

/// One rank: its part in the agreement, and an engine that makes one status call after the other.
class agreeing_rank final : public agreement_backend {
public:
  agreeing_rank(agreeing_ranks& world, std::uint32_t number);

  /// What one call returned.
  struct answer {
    std::map<request_id, outcome> ended;
    std::vector<request_id> ready;
    fake_world::clock::duration took{};
    bool alone = false; ///< some of it was not agreed
  };

  /// A request is live here from now on, and ends after `span`.
  void serve(request_id request, std::chrono::microseconds span, std::optional<error> failure,
             std::chrono::milliseconds timeout = std::chrono::milliseconds{60'000});
  /// A prepared request has been asked for here.
  void asked(request_id request);
  /// Makes calls from now on, `longest_pause` apart at most. `at_least` is asked for each call by
  /// its number.
  void run(std::chrono::microseconds longest_pause, bool prepares = false);
  void stop() noexcept { running_ = false; }

  [[nodiscard]] const std::vector<answer>& answers() const noexcept { return answers_; }
  [[nodiscard]] std::size_t votes() const noexcept { return votes_; }
  [[nodiscard]] agreement_member& member() noexcept { return *member_; }
  [[nodiscard]] incarnation life() const noexcept { return life_; }
  [[nodiscard]] bool calling() const noexcept { return calling_; }
  /// All that its calls returned; complains when a request is there twice.
  [[nodiscard]] std::map<request_id, outcome> all() const;

  // -- agreement_backend ----
  void vote(const agreement_vote& vote) override;
  [[nodiscard]] bool abandon(request_id request, const error& reason) override;
  void answer_ended(caller_id caller, std::vector<outcome> ended) override;
  void answer_ready(caller_id caller, std::vector<request_id> ready) override;

private:
  struct live_request {
    std::uint64_t number;
    fake_world::clock::time_point deadline;
  };

  void next_call();
  void end(request_id request, std::optional<error> failure);
  void returned(answer what);
  [[nodiscard]] census count() const;

  agreeing_ranks& world_;
  std::uint32_t number_;
  incarnation life_;
  std::unique_ptr<agreement_member> member_;
  std::map<request_id, live_request> live_;
  std::set<request_id> refused_; ///< failed elsewhere before they were known here
  std::uint64_t last_number_ = 0;
  std::vector<answer> answers_;
  fake_world::clock::time_point called_at_;
  std::chrono::microseconds pause_{0};
  bool prepares_ = false;
  bool running_ = false;
  bool calling_ = false;
  std::size_t votes_ = 0;
  bool dead_ = false;

  friend class agreeing_ranks;
};

/// The ranks of one instance and its directory, on one virtual clock.
class agreeing_ranks {
public:
  agreeing_ranks(std::uint64_t seed, std::uint32_t ranks, agreement_faults faults = {});

  [[nodiscard]] fake_world& clock() noexcept { return clock_; }
  [[nodiscard]] agreeing_rank& rank(std::uint32_t number) { return *ranks_.at(number); }
  [[nodiscard]] std::uint32_t size() const noexcept {
    return static_cast<std::uint32_t>(ranks_.size());
  }
  [[nodiscard]] const transceiver_options& options() const noexcept { return options_; }
  void run(std::chrono::milliseconds span) { clock_.run(clock_.now() + span); }

  /// What the n-th calls of all ranks ask for; 0 unless set.
  std::map<std::size_t, std::optional<std::size_t>> at_least;

  void kill(std::uint32_t number);
  /// The rank is there again, as another life; nothing of the old one is left.
  void restart(std::uint32_t number);
  /// The directory's rank dies, with all that the directory knew.
  void lose_directory();
  void find_directory();
  [[nodiscard]] bool board_busy() const { return board_ && board_->busy(); }

private:
  void sweep();
  void reply();
  template <class Deliver>
  void carry(Deliver deliver);

  fake_world clock_;
  agreement_faults faults_;
  transceiver_options options_;
  std::optional<agreement_board> board_;
  std::uint64_t board_number_ = 0; ///< messages to an earlier one are lost
  std::vector<std::shared_ptr<agreeing_rank>> ranks_;

  friend class agreeing_rank;
};

} // namespace baton::test
