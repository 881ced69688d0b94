#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "actors/agreement_member.hpp"
#include "actors/block_exchange.hpp"
#include "actors/directory_client.hpp"
#include "actors/guest_book.hpp"
#include "actors/guest_queue.hpp"
#include "actors/peer_link.hpp"
#include "actors/rank_context.hpp"
#include "actors/router.hpp"
#include "actors/supervisor.hpp"

namespace baton {

/// Shell of the `supervisor` and the `router` of one rank: spawns and watches the sessions and
/// links, and keeps the promises of all callers.
class transceiver_state : public supervisor_backend,
                          public router_backend,
                          public agreement_backend,
                          public exchange_backend {
public:
  explicit transceiver_state(transceiver_actor::stateful_pointer<transceiver_state> self)
      : self_{self} {}
  /// Ends all actors of the rank, retires their work, and answers whoever still waits with
  /// `shutting_down`.
  ~transceiver_state() override;

  static inline const char* name = "baton.transceiver";

  void init(rank_context_ptr rank);
  /// The rank's door is published at host:port.
  void start(const std::string& own_endpoint);

  // -- calls ----
  caf::result<void> offer(send_slice slice);
  caf::result<preparation> prepare(const std::vector<context_request>& requests);
  caf::result<outcome> receive(receive_request request);
  caf::result<void> begin(receive_request request);
  caf::result<std::vector<outcome>> fetch(instance_role side, std::int64_t at_least);
  std::vector<outcome> take_unfetched();
  caf::result<bool> cancel(request_id request);
  caf::result<disaggregated_params> params(request_id request, std::chrono::milliseconds patience);
  caf::result<std::string> ticket(request_id request, std::chrono::milliseconds patience);
  caf::result<standing_offer> offer_blocks(const block_offer& offer);
  caf::result<bool> withdraw(offer_id id);
  caf::result<block_outcome> pull_blocks(block_pull pull);
  caf::result<std::string, caf::strong_actor_ptr> introduce(const std::string& intro,
                                                            const caf::strong_actor_ptr& remote);
  [[nodiscard]] transceiver::statistics stats() const;
  [[nodiscard]] supervisor& logic() noexcept { return *supervisor_; }
  void refuse_new();
  void end_all();
  void stop();

  // -- events ----
  void link_changed(const link_event& event);
  void described(const std::string& endpoint, expected<instance_info> instance);
  void owner_described(const std::string& endpoint, const expected<instance_info>& instance);
  void received(peer_message message);
  void reported(session_key key, session_report report);
  void retired(session_key key);
  void pulled(session_key key, expected<pull_stats> result);
  void agreed(expected<agreement_verdict> verdict);
  void down(const caf::down_msg& message);
  void sweep();

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
  void answer_ticket(caller_id caller, std::shared_ptr<const request_ticket> ticket) override;
  void answer_ended(caller_id caller, std::vector<outcome> ended) override;

  // -- agreement_backend ----
  void vote(const agreement_vote& vote) override;
  [[nodiscard]] bool abandon(request_id request, const error& reason) override;
  void answer_ready(caller_id caller, std::vector<request_id> ready) override;

  // -- exchange_backend; `retire` and `answer_safe` are those of the supervisor ----
  void describe_owner(const std::string& endpoint, bool again) override;
  [[nodiscard]] std::optional<lane_kind> link_to(const source_contact& peer) override;
  [[nodiscard]] session_key new_key() override;
  [[nodiscard]] expected<lease> grant(session_key key, grant_spec spec) override;
  void pull(session_key key, pull_job job) override;
  void answer_pull(caller_id caller, block_outcome result) override;

  // -- router_backend ----
  void describe(const std::string& endpoint, bool again) override;
  void connect(const source_contact& peer) override;
  void routed(session_key key, tl::expected<receive_route, attempt_failure> route) override;
  void tell_withdrawn(incarnation source, const cancel_notice& notice) override;

private:
  struct knock {
    std::string intro;
    link_actor remote;
    link_promise promise;
  };

  struct waiting_knock {
    knock visitor;
    time_point since;
  };

  struct preparing {
    caf::typed_response_promise<preparation> promise;
    std::vector<refused_request> refused;
  };

  struct known_link {
    link_actor end;
    bool ours = false;             ///< we introduced ourselves
    std::optional<lane_kind> lane; ///< while it is up, and can be read by
  };

  struct found_route {
    session_key key;
    tl::expected<receive_route, attempt_failure> route;
  };

  void watch(session_key key, session_actor session);
  void retire_now(session_key key);
  void lost_link(incarnation peer);
  void warn_of_lost_outcomes();
  void look_for_breakdown();
  directory_client_actor send_client(directory_errand errand);
  void accept(knock visitor);
  void let_in(const knock& visitor, const introduction& intro, expected<acquaintance> met);
  void refuse(const knock& visitor, const error& reason);
  void ask_for_instance(const knock& visitor);
  /// Of two ranks that introduce themselves to each other, the one with the smaller life goes on.
  /// Returns whether that is this one; then the visitor, who may have given way long ago, waits
  /// until our link comes up or ends.
  [[nodiscard]] bool keep_waiting(const knock& visitor, incarnation life);
  /// Answers a visitor that has waited, or lets it in.
  void end_waiting(incarnation life, bool is_up);
  /// Hands the supervisor what was answered while it was calling, and the agreement what ended.
  void settle();
  void take_in_ended();

  transceiver_actor::stateful_pointer<transceiver_state> self_;
  rank_context_ptr rank_;
  std::string own_directory_; ///< host:port
  std::unique_ptr<supervisor> supervisor_;
  std::unique_ptr<router> router_;
  std::unique_ptr<block_exchange> exchange_;
  std::unique_ptr<agreement_member> member_; ///< null if this rank agrees with nobody
  directory_client_actor membership_;        ///< keeps this rank enlisted
  own_instance_ptr own_;
  std::optional<guest_book> guests_; ///< since this rank knows its own instance
  guest_queue<knock> strangers_{std::chrono::milliseconds{500}};
  std::unordered_map<session_key, session_actor> sessions_;
  std::unordered_map<caf::actor_addr, session_key> session_of_;
  std::unordered_set<session_key> leaving_; ///< dismissed, but not yet ended
  std::unordered_map<incarnation, known_link> links_;
  std::unordered_map<incarnation, waiting_knock> waiting_; ///< to whom we introduce ourselves
  std::vector<directory_client_actor> clients_;
  std::vector<found_route> found_;
  std::vector<session_key> retired_;
  std::vector<std::pair<session_key, expected<pull_stats>>> pulled_;
  std::deque<knock> visitors_;      ///< came before this rank knew its own instance
  std::optional<error> outcast_;    ///< why this rank cannot join its instance
  std::uint64_t outcomes_lost_ = 0; ///< as last reported in the log
  bool broken_ = false;             ///< the data plane, as reported in the log
  caller_id last_caller_ = 0;
  std::unordered_map<caller_id, caf::typed_response_promise<outcome>> receivers_;
  std::unordered_map<caller_id, caf::typed_response_promise<bool>> cancellers_;
  std::unordered_map<caller_id, caf::typed_response_promise<std::vector<outcome>>> fetchers_;
  std::unordered_map<caller_id, preparing> preparers_;
  std::unordered_map<caller_id, caf::typed_response_promise<std::string>> ticket_askers_;
  std::unordered_map<caller_id, caf::typed_response_promise<block_outcome>> pullers_;
};

transceiver_actor::behavior_type
transceiver_shell(transceiver_actor::stateful_pointer<transceiver_state> self,
                  rank_context_ptr rank);

} // namespace baton
