#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "actors/acquaintance.hpp"
#include "actors/rank_context.hpp"
#include "actors/router.hpp"

namespace baton {

/// Whoever introduces itself gets our introduction and our end of the link; no link if its
/// instance is wanted first.
using link_promise = caf::typed_response_promise<std::string, caf::strong_actor_ptr>;

/// How long an introduction may take: the other end maps pools and wires up endpoints before it
/// answers.
inline constexpr std::chrono::seconds introduction_timeout{10};

/// What both ends of a link start from.
struct link_config {
  rank_context_ptr rank;
  transceiver_actor owner;
  own_instance_ptr own;
  source_contact peer; ///< without a pair where the other end pulls, or may

  /// This rank's introduction, encoded.
  [[nodiscard]] std::string introduction(bool with_instance = false) const;
};

/// One end of the link to one remote rank: connects, introduces, passes messages on, watches.
///
///     initiator: connecting -> introducing -> up -> broken -> (connecting again | gone)
///     acceptor:                introducing -> up -> broken -> (replaced by a new one | gone)
///
/// An acceptor between ranks of one role reports `link_up` once its own rank has asked to read
/// (`atom::pull`) and can: until then the other end is only served.
///
/// A broken link is reported at once; `gone` follows when the peer's endpoint refuses, answers as
/// somebody else, or stays silent for `transceiver_options::peer_grace`.
struct link_state {
  explicit link_state(link_actor::stateful_pointer<link_state> owner) : self{owner} {}
  ~link_state();

  static inline const char* name = "baton.link";

  void connect();
  void introduce(const door_actor& door, bool with_instance = false);
  void answered(const std::string& intro, const caf::strong_actor_ptr& other, bool with_instance);
  [[nodiscard]] caf::result<std::string, caf::strong_actor_ptr> accept();
  /// Stops watching the door that was asked.
  void let_go();
  void make_ready(std::function<void(expected<lane_choice>)> done);
  void up(const link_actor& other, const lane_choice& lane);
  /// Makes the other end readable as well, and reports the link then.
  void read_if_ready();
  void deliver(const std::string& bytes);
  /// Whether the peer may say this, as it was introduced.
  [[nodiscard]] expected<> check(const wire_message& message) const;
  void down(const caf::down_msg& message);
  void probe();
  void probe_later();
  void gone(const std::string& why);
  void refused(error reason);
  void report(link_event event);
  [[nodiscard]] std::string endpoint() const;
  [[nodiscard]] const rank_layout& peer() const noexcept { return config.peer.rank.layout; }
  /// Whether the two only read each other's blocks.
  [[nodiscard]] bool alike() const noexcept { return peer().role == config.own->layout().role; }

  link_actor::stateful_pointer<link_state> self;
  link_config config;
  bool initiator = true;
  bool is_up = false;
  link_actor remote;
  door_actor asked; ///< answers the introduction that is under way
  std::optional<acquaintance> known;
  std::function<void(expected<lane_choice>)> on_ready; ///< waits for the data plane
  /// Of an acceptor between ranks of one role. It reads only if its rank wants to, and then not
  /// before the other end's data plane, which would drop what comes earlier, knows us.
  bool confirmed = false;
  bool wanted = false;
  std::chrono::steady_clock::time_point patience_ends;
};

/// The end that asks. Reports `link_up` or `link_refused`, then `link_loss`.
link_actor::behavior_type link_initiator(link_actor::stateful_pointer<link_state> self,
                                         link_config config);

/// The end that is asked; `atom::start` begins.
link_actor::behavior_type link_acceptor(link_actor::stateful_pointer<link_state> self,
                                        link_config config, acquaintance met, link_actor remote);

/// Decodes an introduction and checks the versions.
/// @returns `invalid_argument` or `version_mismatch`, which names both versions.
[[nodiscard]] expected<introduction> read_introduction(const std::string& bytes);

} // namespace baton
