#pragma once

#include <memory>
#include <vector>

#include "actors/rank_context.hpp"
#include "actors/receive_protocol.hpp"
#include "actors/send_protocol.hpp"

namespace baton {

/// Shell of a `receive_protocol`: carries its reports to the transceiver, its messages to the links
/// and its pulls to the data plane.
class receive_session_state : public receive_backend {
public:
  explicit receive_session_state(session_actor::stateful_pointer<receive_session_state> self)
      : self_{self} {}

  static inline const char* name = "baton.receive-session";

  void init(rank_context_ptr rank, transceiver_actor owner, receive_spec spec);
  void start();
  void handle(const session_input& input);
  void pulled(std::uint32_t source, std::uint32_t slice, expected<pull_stats> result);

  void send(incarnation peer, wire_message message) override;
  void pull(std::uint32_t source, std::uint32_t slice, pull_job job) override;
  void report(session_report report) override;
  void passed(probe_point point) override;

private:
  session_actor::stateful_pointer<receive_session_state> self_;
  rank_context_ptr rank_;
  transceiver_actor owner_;
  session_key key_;
  request_id request_;
  struct finished_pull {
    std::uint32_t source;
    std::uint32_t slice;
    expected<pull_stats> result;
  };

  /// Hands pulls to the protocol that ended while it was calling.
  void settle();

  std::unique_ptr<receive_protocol> protocol_;
  std::vector<finished_pull> finished_;
};

/// Shell of a `send_protocol`.
class send_session_state : public send_backend {
public:
  explicit send_session_state(session_actor::stateful_pointer<send_session_state> self)
      : self_{self} {}

  static inline const char* name = "baton.send-session";

  void init(rank_context_ptr rank, transceiver_actor owner, send_spec spec);
  [[nodiscard]] send_protocol& protocol() noexcept { return *protocol_; }

  void send(incarnation peer, wire_message message) override;
  [[nodiscard]] expected<lease> grant(grant_spec spec) override;
  void revoke(const lease& right) override;
  void report(session_report report) override;
  void passed(probe_point point) override;

private:
  session_actor::stateful_pointer<send_session_state> self_;
  rank_context_ptr rank_;
  transceiver_actor owner_;
  session_key key_;
  request_id request_;
  std::unique_ptr<send_protocol> protocol_;
};

session_actor::behavior_type
receive_session(session_actor::stateful_pointer<receive_session_state> self, rank_context_ptr rank,
                transceiver_actor owner, receive_spec spec);

session_actor::behavior_type send_session(session_actor::stateful_pointer<send_session_state> self,
                                          rank_context_ptr rank, transceiver_actor owner,
                                          send_spec spec);

} // namespace baton
