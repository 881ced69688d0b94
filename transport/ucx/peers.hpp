#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "transport/ucx/endpoint.hpp"
#include "transport/ucx/lane.hpp"
#include "transport/ucx/messages.hpp"
#include "transport/ucx/stall_clock.hpp"

namespace baton {

/// A peer of the ucx lane. There is at most one endpoint in use to it, which pulls in both
/// directions share: while there is none, nothing is under way in either of them.
struct ucx_peer {
  ucx_peer_card card;
  std::unique_ptr<ucx_endpoint> endpoint; ///< null until it is made, and after the link ended
  bool forgotten = false;

  // -- our pulls from it
  std::size_t pulls = 0;
  std::size_t expected = 0;    ///< chunks that it may send or that are landing
  std::size_t unconfirmed = 0; ///< pulls that have all chunks, and lack its word
  std::uint64_t heard = 0;     ///< what it sent for them, ever

  // -- its pulls from us
  std::size_t serves = 0;
  std::size_t staged = 0; ///< slots of our send ring that are on their way to it
  std::uint64_t left = 0; ///< slots that came back, ever

  std::uint64_t link = 0;      ///< number of our endpoint to it; 0: none
  std::uint64_t peer_link = 0; ///< number of its latest endpoint to us, as far as it told
  std::uint64_t peer_left = 0; ///< number of the last one that it has closed
  bool met = false;            ///< whether our endpoint is known to lead to that one

  stall_clock reading;
  stall_clock serving;

  void send(lane_message id, const pull_head& head, std::string body = {}) const;
  /// Whether anything is outstanding that only this peer can bring on.
  [[nodiscard]] bool is_awaited() const noexcept { return expected + unconfirmed > 0; }
  /// Whether it has shut down. (Its next life is another peer.)
  [[nodiscard]] bool is_gone() const noexcept { return peer_left == bye_head::for_good; }
};

/// When endpoints are made and closed.
enum class ucx_connecting : std::uint8_t {
  on_demand, ///< made for the first message, and closed as soon as the last words are said
  /// Made as soon as there is a peer, and closed when it has closed its own or has died. Over
  /// shared memory this costs nothing. UCX 1.22.0 crashes if it gets a connection request for which
  /// it must make an endpoint itself, and the sender has died meanwhile. (Owners of blocks send
  /// them, for rendezvous; so an endpoint is not kept for chunks that a stopped reader would keep
  /// from us.)
  ahead,
};

/// The peers and the links to them. Belongs to the data thread. Links end within the calls that say
/// so, never from within UCX.
class ucx_peers {
public:
  using clock = std::chrono::steady_clock;
  using shared_peer = std::shared_ptr<ucx_peer>;
  /// Ends all that is under way with a peer, in both directions: the link is gone.
  using ender = std::function<void(const shared_peer& peer, const error& why)>;

  /// How long a link that we close may still carry our last words, and how long what is under way
  /// with a peer that was forgotten may still end well.
  static constexpr std::chrono::milliseconds last_words{100};
  /// How long an endpoint that was made ahead is kept for a peer that does not say good-bye too.
  static constexpr std::chrono::milliseconds answer_wait{10'000};
  static constexpr std::chrono::milliseconds forget_grace{500};
  /// How often `watch` wants to be called while `is_watching`.
  static constexpr std::chrono::milliseconds look_again{50};

  /// @param worker must outlive this.
  /// @param stuck_after how long a peer may leave chunks of ours lying. It gets twice as long to
  ///        send what we wait for, since another one that is stuck may hold it up.
  ucx_peers(incarnation life, ucx_worker& worker, ucx_connecting connecting,
            std::chrono::milliseconds stuck_after, ender ended);

  void add(ucx_peer_card card);
  /// Lets go of a peer: when nothing is under way with it any more, at the latest after
  /// `forget_grace`.
  void forget(incarnation life);

  [[nodiscard]] shared_peer find(incarnation life) const;
  /// Connects to a peer, if it is not connected.
  ///
  /// @returns `peer_lost` when there is no way to it.
  [[nodiscard]] expected<> connect(const shared_peer& peer);
  /// The same for a peer that calls, by its link of that number. If it has connected anew, our
  /// endpoint still leads to its old one, which drops what comes: that link ends.
  ///
  /// @returns `peer_lost` also for a call that is older than its present link.
  [[nodiscard]] expected<> meet(const shared_peer& peer, std::uint64_t link);

  /// Notes that a peer said good-bye, if it meant the present link. From within UCX.
  void left(const ucx_message& message);

  /// Ends the links that broke, or that their peers closed.
  ///
  /// @returns whether there were any.
  bool end_broken();
  /// Ends the links to peers that are stuck or were forgotten, and closes those that ended.
  void watch(clock::time_point now);
  [[nodiscard]] bool is_watching() const noexcept;

  /// Closes all links for good, with last words.
  void leave_all();
  /// Closes at once what is left of any link.
  void close();

private:
  struct break_up {
    shared_peer peer;
    std::uint64_t link = 0;
    error why;
    bool by_bye = false;
  };
  struct forgotten_peer {
    shared_peer peer;
    clock::time_point until;
  };
  /// An endpoint without a use but for its last words, or for what the peer may still send to it.
  struct closing {
    incarnation life;
    std::uint64_t link = 0;
    std::unique_ptr<ucx_endpoint> endpoint;
    std::shared_ptr<bool> flushed;
    clock::time_point until;
    bool stays = false; ///< until the peer answers, or has died
  };

  void end(const shared_peer& peer, const error& why);
  /// @param answered  the peer closes its endpoint too, or has.
  void leave(ucx_peer& peer, bool answered = false) { leave(peer, answered, peer.link); }
  /// @param told  the number of the link that the peer is told of, or `bye_head::for_good`.
  void leave(ucx_peer& peer, bool answered, std::uint64_t told);
  /// Has the next endpoint made ahead, if endpoints are and the peer may be there.
  void connect_later(const shared_peer& peer);
  [[nodiscard]] bool is_kept(incarnation life) const noexcept;
  void close_left(incarnation life);
  void close_ended(clock::time_point now);
  /// Makes the next endpoints to peers whose links have ended.
  void connect_ahead();
  void drop_forgotten(clock::time_point now);
  void drop_stuck(clock::time_point now);

  const incarnation life_;
  ucx_worker& worker_;
  const ucx_connecting connecting_;
  const std::chrono::milliseconds stuck_after_;
  const ender ended_;
  std::uint64_t last_link_ = 0;
  clock::time_point next_look_{};
  std::unordered_map<incarnation, shared_peer> peers_;
  std::vector<forgotten_peer> forgotten_;
  std::vector<shared_peer> unconnected_; ///< to be connected ahead
  std::vector<break_up> broken_;
  std::vector<closing> closing_;
};

} // namespace baton
