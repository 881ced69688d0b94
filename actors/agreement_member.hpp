#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "actors/options.hpp"
#include "actors/request.hpp"
#include "actors/supervisor.hpp"
#include "messages/agreement.hpp"

namespace baton {

/// What a rank's part in the agreement needs from the world around it. Calls must not re-enter it.
class agreement_backend {
public:
  virtual ~agreement_backend() = default;

  /// Sends a vote to the directory. It may get lost; nothing else follows from that.
  virtual void vote(const agreement_vote& vote) = 0;
  /// Ends a request here because another rank has failed it. Returns whether its end will be told
  /// by `agreement_member::ended`; otherwise it is not live here.
  [[nodiscard]] virtual bool abandon(request_id request, const error& reason) = 0;
  virtual void answer_ended(caller_id caller, std::vector<outcome> ended) = 0;
  virtual void answer_ready(caller_id caller, std::vector<request_id> ready) = 0;
};

/// One rank's part in the agreement of its instance on what status calls return: keeps what ended
/// (or became ready) here until all ranks agree on it, votes once in each call, and answers the
/// call with the verdict.
///
///     call -> vote -> verdict -> failed ones ended here too -> answer
///              |  no directory, or none in time
///              +-> answer with what this rank knows, `outcome::agreed` false; nothing is ready
///
/// Calls of one topic follow each other; those of two topics do not wait for each other. Time is
/// passed in. Not thread-safe.
class agreement_member {
public:
  agreement_member(incarnation life, std::uint32_t rank, const transceiver_options& options,
                   agreement_backend& backend);

  // -- calls ----

  /// Asks for what ended: at once, or when `at_least` requests have (nullopt: all that are live
  /// now, as `live` counts them).
  void check(time_point now, std::optional<std::size_t> at_least, const census& live,
             caller_id caller);
  /// Asks for what is ready.
  void prepare(time_point now, caller_id caller);

  // -- events ----

  void ended(time_point now, ended_request request);
  void ready(request_id request, time_point deadline);
  /// All that has ended by now was told.
  void flush(time_point now);
  void received(time_point now, agreement_verdict verdict);
  /// The directory can be reached. It may be another one, which knows nothing.
  void connected(time_point now);
  /// The directory was lost: until it is back, calls are answered at once.
  void disconnected(time_point now);
  /// Looks after deadlines. Late by at most the time between two calls.
  void sweep(time_point now);

  /// Whether a call is open.
  [[nodiscard]] bool waiting() const noexcept;
  /// Takes what ended here and is not agreed on yet: this rank leaves.
  [[nodiscard]] std::vector<outcome> take_kept();
  /// Ended requests that are kept until all ranks agree on them.
  [[nodiscard]] std::size_t kept() const noexcept { return pool_.size(); }

private:
  enum class link : std::uint8_t { none_yet, up, lost };

  struct call {
    caller_id caller = 0;
    std::optional<std::size_t> at_least = 0;
    census live;         ///< as of the call
    time_point gives_up; ///< what the call itself waits for
    time_point until;    ///< after that, this rank's own knowledge must do
  };

  /// Something to tell the directory.
  struct note {
    time_point deadline;
    std::uint64_t told = 0; ///< the first vote that it went with; 0: none
  };

  struct kept_end {
    note known;
    ended_request end;
  };

  struct topic_state {
    std::deque<call> calls; ///< the first one is voted on
    std::uint64_t round = 0;
    std::uint64_t seen = 0;
    std::uint64_t heard = 0; ///< the last vote that the directory is known to have
    time_point sent;         ///< the last vote of the round
    bool news = false;       ///< since then
    bool decided = false;    ///< the verdict is here; what failed must end
    std::set<request_id> ending;
    std::vector<outcome> ended;
    std::vector<request_id> ready;
  };

  void open(time_point now, agreement_topic topic, call wish);
  void begin(time_point now, agreement_topic topic);
  void vote(time_point now, agreement_topic topic);
  void take_ended(time_point now, const agreement_item& item);
  void take_ready(const agreement_item& item);
  /// Answers the first call of the topic.
  void close(time_point now, agreement_topic topic);
  /// Answers it with what this rank knows.
  void close_alone(time_point now, agreement_topic topic);
  void close_if_done(time_point now, agreement_topic topic);
  /// Gives up on requests on which there is still no verdict long after their deadlines.
  void drop_overdue(time_point now);
  void report_alone(kept_end kept);

  incarnation life_;
  std::uint32_t rank_;
  agreement_options options_;
  std::chrono::milliseconds clean_up_;
  std::chrono::milliseconds overdue_;
  agreement_backend& backend_;
  link link_ = link::none_yet;
  std::array<topic_state, 2> topics_;
  std::uint64_t attempt_ = 0;
  std::map<request_id, kept_end> pool_;
  std::map<request_id, note> ready_;
  /// Failed on another rank; reported in the call in which they end here, or the next one.
  std::unordered_map<request_id, error> failed_elsewhere_;
  /// Reported without the others: a later verdict on them says nothing new.
  std::unordered_set<request_id> alone_;
  std::deque<request_id> alone_order_;
};

} // namespace baton
