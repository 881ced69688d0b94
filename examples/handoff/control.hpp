#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "transport/base/unique_fd.hpp"

namespace baton::handoff {

/// JSON objects over a stream socket, one a line: how the runner and its rank processes talk.
/// Sending is thread-safe, receiving belongs to one thread. Neither throws; a peer that is gone
/// shows as `closed`.
class control_channel {
public:
  /// @param socket  connected; becomes non-blocking.
  explicit control_channel(unique_fd socket);

  [[nodiscard]] int descriptor() const noexcept { return socket_.get(); }

  /// Queues a message and writes as much as goes without waiting.
  void post(const nlohmann::json& message);
  /// Whether `flush` has something to write once the socket takes more.
  [[nodiscard]] bool pending() const;
  void flush();
  /// Sends a message, waiting for the peer to take it up to `limit`.
  void send(const nlohmann::json& message, std::chrono::milliseconds limit);

  /// Returns the messages that have arrived, without waiting.
  [[nodiscard]] std::vector<nlohmann::json> receive();
  /// Waits until there is something to receive, at most `limit`.
  void wait(std::chrono::milliseconds limit) const;
  [[nodiscard]] bool closed() const noexcept { return closed_; }

private:
  void write_some();

  unique_fd socket_;
  mutable std::mutex mutex_; ///< guards `out_`
  std::string out_;
  std::string in_;
  bool closed_ = false;
};

} // namespace baton::handoff
