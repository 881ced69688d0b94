#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "actors/receive_protocol.hpp"
#include "actors/send_protocol.hpp"
#include "actors/supervisor.hpp"
#include "transport/fake_plane.hpp"

namespace baton::test {

/// What can go wrong in a simulation; probabilities per message or per step.
struct chaos {
  double loss = 0;
  double repeat = 0;
  double crash = 0; ///< of a session, each time it is told something
  double route_failure = 0;
  double events = 0;        ///< of a slice or a receive to come with a GPU event
  double event_failure = 0; ///< of the work before such an event
  std::chrono::microseconds longest_message{1'000};
  std::chrono::microseconds longest_introduction{0}; ///< of a generation rank to a context rank
  std::chrono::microseconds longest_news{1'000};     ///< until a rank hears of a death
  bool in_order = false;              ///< whether messages of one rank to another keep their order
  lane_kind kind = lane_kind::mapped; ///< of all lanes
  double tickets = 0;                 ///< of a request that is offered first to come with a ticket
  std::chrono::microseconds longest_way{2'000}; ///< of a ticket to the receivers
  bool state = false;                           ///< whether ranks have a group of state besides
  std::uint32_t layers = 1; ///< of the other group, at most 15; state is in one more
  std::chrono::microseconds longest_work{30'000}; ///< of the GPU before an event
  fake_faults lane;
};

/// In which order the two sides learn of a request. In the last two the context side prepares it,
/// and computes it when it is ready.
enum class workflow : std::uint8_t {
  ctx_first,  ///< the context side offers as soon as it likes
  gen_first1, ///< the context side prepares, then the generation side asks
  gen_first2, ///< the other way round
};

/// How a request is handed over, and how its cache lies in memory, on all ranks of a side alike. A
/// beam whose tail begins at an even token has a state of its own.
struct request_form {
  /// Of each beam but the first: from which token on it has blocks of its own.
  std::vector<std::uint32_t> context_tails;
  std::vector<std::uint32_t> generation_tails;
  std::uint32_t released = 0; ///< leading tokens that the context ranks no longer have
  workflow flow = workflow::ctx_first;
};

/// A piece of a request that is computed at once.
struct simulated_slice {
  token_range tokens;
  layer_range layers{};
  bool early_release = false; ///< it is rewritten as soon as it is released
};

class simulation;

/// One rank: supervisor, sessions and fake data plane, joined to the others by the simulation's
/// network.
class simulated_rank final : public supervisor_backend {
public:
  simulated_rank(simulation& world, instance_role role, std::uint32_t number);
  ~simulated_rank() override;

  /// Offers the slices one after the other, `gap` apart.
  void offer(request_id request, std::vector<simulated_slice> slices,
             std::chrono::milliseconds timeout,
             std::chrono::milliseconds gap = std::chrono::milliseconds{2});
  /// Prepares the request, and offers the slices once it is ready.
  void prepare(request_id request, std::vector<simulated_slice> slices,
               std::chrono::milliseconds timeout);
  void receive(request_id request, std::uint32_t tokens, std::uint32_t cached,
               std::chrono::milliseconds timeout,
               std::shared_ptr<const request_ticket> ticket = nullptr);
  using ticket_answer = std::function<void(std::shared_ptr<const request_ticket>)>;
  /// Asks this context rank for its ticket. A rank that dies does not answer.
  void ask_for_ticket(request_id request, ticket_answer done);
  void cancel(request_id request);
  /// The session of a request crashes, if one runs.
  void crash(request_id request);
  /// From now on requests that become ready are left lying.
  void stop_computing() noexcept { computing_ = false; }
  /// From now on each slice and each receive comes with a GPU event that only `finish_work`
  /// completes.
  void hold_work() noexcept { holding_ = true; }
  /// The GPU work of a slice (receives: 0) ends: a context rank's blocks are filled only now, and a
  /// generation rank's must have been left alone until now.
  void finish_work(request_id request, std::uint32_t slice = 0, bool failed = false);
  void sweep();
  /// The process is killed: nothing of it runs any more.
  void die();

  [[nodiscard]] bool dead() const noexcept { return dead_; }
  [[nodiscard]] incarnation life() const noexcept { return life_; }
  [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
  [[nodiscard]] fake_plane& plane() noexcept { return plane_; }
  [[nodiscard]] supervisor& logic() noexcept { return *supervisor_; }
  [[nodiscard]] std::size_t sessions() const noexcept { return sessions_.size(); }
  [[nodiscard]] const std::map<request_id, outcome>& outcomes() const noexcept { return outcomes_; }
  /// All that was ever released early.
  [[nodiscard]] const std::vector<released_slice>& released() const noexcept { return released_; }

  // -- supervisor_backend ----
  void send(incarnation peer, wire_message message) override;
  void route(session_key key, const receive_request& request) override;
  [[nodiscard]] std::string waits_for(session_key key) override;
  void withdraw(session_key key, const receive_request& request, cancel_notice notice) override;
  void spawn(receive_spec spec) override;
  void spawn(send_spec spec) override;
  void tell(session_key key, session_input input) override;
  void dismiss(session_key key) override;
  void retire(session_key key) override;
  void answer(caller_id caller, outcome result) override;
  void answer_safe(caller_id caller) override;
  void answer_ended(caller_id caller, std::vector<outcome> ended) override;
  void answer_ticket(caller_id caller, std::shared_ptr<const request_ticket> ticket) override;

private:
  class session;
  /// One layer of a block of a request, and the number that it must hold at the end.
  struct place {
    std::string group;
    std::uint32_t layer = 0;
    std::uint32_t block = 0;
    std::uint32_t beam = 0;
    std::uint32_t token = 0;
    std::uint64_t number = 0;
  };

  struct plan {
    std::vector<simulated_slice> slices;
    std::chrono::milliseconds timeout;
  };

  struct gpu_work {
    fake_event event;
    std::vector<place> places;
  };

  struct farewell {
    cancel_notice notice;
    std::vector<simulated_rank*> untold;
  };

  template <class Spec>
  void start(Spec spec);
  /// The ranks that `request` comes from, or that are idle and told by this one.
  [[nodiscard]] std::vector<simulated_rank*> sources() const;
  [[nodiscard]] receive_route whole_route() const;
  /// Whether a source is introduced; makes the acquaintance when its time has come.
  [[nodiscard]] bool ready(simulated_rank& source);
  void look_for_route(session_key key);
  void say(std::shared_ptr<farewell> words);
  void hear_of_death(incarnation life);
  [[nodiscard]] gpu_event_ref start_work(request_id request, std::uint32_t slice,
                                         std::vector<place> places);
  void fill(request_id request, const std::vector<place>& places);
  /// The engine's step: looks which requests may be computed.
  void compute_ready();
  /// Another part of it: rewrites what was released, after a look whether everybody has read it.
  void rewrite_released();
  void ended(outcome result);
  void later(std::function<void()> action);
  [[nodiscard]] std::vector<std::uint32_t> draw(std::uint32_t blocks);
  [[nodiscard]] std::vector<group_blocks> draw_tables(std::uint32_t first, std::uint32_t tokens,
                                                      const std::vector<std::uint32_t>& tails);
  [[nodiscard]] std::vector<place> places_of(const std::vector<group_blocks>& tables) const;
  [[nodiscard]] std::uint64_t number_at(const place& at) const;
  void write(const place& at, std::uint64_t number);
  [[nodiscard]] std::uint64_t arrived(request_id request, const place& at, std::uint32_t tokens,
                                      std::uint32_t cached) const;

  simulation& world_;
  std::uint32_t number_;
  incarnation life_;
  instance_role role_;
  fake_plane plane_;
  std::unique_ptr<supervisor> supervisor_;
  std::map<session_key, std::shared_ptr<session>> sessions_;
  std::map<request_id, std::vector<place>> expectations_;
  std::map<request_id, outcome> outcomes_;
  std::map<request_id, std::vector<simulated_slice>> offered_;
  std::vector<released_slice> released_;
  std::map<request_id, plan> prepared_;                            ///< not ready yet
  std::map<std::pair<request_id, std::uint32_t>, gpu_work> works_; ///< by request and slice
  std::set<session_key> questions_;                                ///< open routes
  std::map<incarnation, fake_world::clock::time_point> ready_at_;  ///< by source
  std::set<incarnation> introduced_;
  std::set<incarnation> lost_;
  std::map<incarnation, fake_world::clock::time_point> last_arrival_; ///< of messages, by receiver
  bool computing_ = true;
  bool holding_ = false;
  std::uint32_t next_block_ = 0;
  std::size_t cancels_open_ = 0;
  std::map<caller_id, ticket_answer> ticket_askers_;
  bool dead_ = false;

  friend class simulation;
};

/// Context and generation ranks on one virtual clock. Every context rank is a source of every
/// generation rank, but for those at the end that are idle. Blocks are overwritten the moment their
/// request ends, on both sides, so that any access after the end shows as a wrong number.
class simulation {
public:
  struct shape {
    std::uint32_t context = 2;
    std::uint32_t idle = 0; ///< context ranks without receivers, besides `context`
    std::uint32_t generation = 2;
  };

  simulation(std::uint64_t seed, shape size, chaos faults, transceiver_options options = {});

  [[nodiscard]] simulated_rank& context(std::size_t rank) { return *context_.at(rank); }
  [[nodiscard]] simulated_rank& generation(std::size_t rank) { return *generation_.at(rank); }
  [[nodiscard]] fake_world& clock() noexcept { return clock_; }

  /// Offers a request on all context ranks (each at its own moment), and asks for it on all
  /// generation ranks.
  void hand_over(request_id request, std::vector<simulated_slice> slices, std::uint32_t cached,
                 std::chrono::milliseconds timeout, request_form form = {});
  void kill(simulated_rank& rank);
  /// Both ends learn that their link broke; neither is gone.
  void break_link(simulated_rank& a, simulated_rank& b);

  /// Collects the tickets of all context ranks; `done` gets none if one has none.
  void collect(request_id request, simulated_rank::ticket_answer done);

  /// Runs until no request is live and no early call waits anywhere, at most for `longest`.
  /// Returns what is wrong then; empty if nothing.
  [[nodiscard]] std::vector<std::string> settle(std::chrono::milliseconds longest);

private:
  [[nodiscard]] std::vector<simulated_rank*> all();
  [[nodiscard]] simulated_rank* find(incarnation life);
  void sweep_all();
  void complain(std::string what) { complaints_.push_back(std::move(what)); }

  fake_world clock_;
  chaos faults_;
  transceiver_options options_;
  fake_fabric fabric_;
  shape size_;
  std::vector<std::unique_ptr<simulated_rank>> context_;
  std::vector<std::unique_ptr<simulated_rank>> generation_;
  std::map<request_id, request_form> forms_;
  std::vector<std::string> complaints_;
  std::set<std::pair<request_id, std::uint32_t>> asked_; ///< by generation rank

  friend class simulated_rank;
};

} // namespace baton::test
