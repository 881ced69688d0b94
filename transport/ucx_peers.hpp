#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "transport/ucx/endpoint.hpp"
#include "transport/ucx_lane.hpp"
#include "transport/ucx_messages.hpp"

namespace baton {

/// A peer of the ucx lane. There is at most one endpoint to it.
struct ucx_peer {
  ucx_peer_card card;
  std::unique_ptr<ucx_endpoint> endpoint; ///< null until it is needed, and after it broke
  bool forgotten = false;
  std::size_t pulls = 0;    ///< of ours from it, under way
  std::size_t serves = 0;   ///< of its pulls from us, under way
  std::size_t expected = 0; ///< chunks that it may send or that are landing
  std::size_t staged = 0;   ///< slots of our send ring that are on their way to it

  std::uint64_t link = 0;      ///< number of our present endpoint to it
  std::uint64_t peer_link = 0; ///< number of its endpoint to us, as far as it told

  void send(lane_message id, const pull_head& head, std::string body = {}) const;
};

/// The peers and their endpoints. Belongs to the data thread.
class ucx_peers {
public:
  /// A peer whose connection broke, and UCX's word for it.
  struct loss {
    std::shared_ptr<ucx_peer> peer;
    error why;
  };

  /// @param worker must outlive this.
  ucx_peers(incarnation life, ucx_worker& worker) noexcept : life_{life}, worker_{worker} {}

  void add(ucx_peer_card card);
  /// Marks a peer as forgotten; see `tidy`.
  void forget(incarnation life);
  /// Lets go of forgotten peers that nothing under way uses any more. Not from within UCX.
  void tidy();

  [[nodiscard]] std::shared_ptr<ucx_peer> find(incarnation life) const;
  /// Connects to a peer, if it is not connected.
  ///
  /// @returns `peer_lost` when there is no way to it.
  [[nodiscard]] expected<> connect(const std::shared_ptr<ucx_peer>& peer);

  /// Notes that a peer said good-bye.
  void left(const ucx_message& message);

  /// Returns the connections that broke since the last call, and closes them.
  [[nodiscard]] std::vector<loss> take_broken();

  /// Says good-bye to all peers, and closes all connections.
  void say_bye();
  void close();

private:
  void say_bye(const ucx_peer& peer) const;

  const incarnation life_;
  ucx_worker& worker_;
  std::unordered_map<incarnation, std::shared_ptr<ucx_peer>> peers_;
  std::vector<std::shared_ptr<ucx_peer>> forgotten_;
  std::vector<loss> broken_;
};

} // namespace baton
