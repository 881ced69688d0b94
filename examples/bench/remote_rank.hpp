#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "examples/handoff/child.hpp"

namespace baton::bench {

/// A rank in a process of its own, as the bench sees it. The process ends with this object.
///
/// Everything here throws `std::runtime_error` that names the rank, when it fails or does not
/// answer in time.
class remote_rank {
public:
  /// @param start what it is made of; see `plane_rank` and `actor_rank`.
  remote_rank(std::string name, const nlohmann::json& start);
  ~remote_rank();
  remote_rank(const remote_rank&) = delete;
  remote_rank& operator=(const remote_rank&) = delete;

  /// Asks for something and waits for the answer.
  nlohmann::json ask(const std::string& verb, const nlohmann::json& arguments = nullptr);

  /// The same in two steps, for ranks that shall work at the same time.
  void tell(const std::string& verb, const nlohmann::json& arguments = nullptr);
  [[nodiscard]] nlohmann::json answer();

  /// Has it check all bytes of its pools.
  void check();
  /// Ends the process in good order.
  void end();

private:
  std::string name_;
  handoff::child process_;
};

} // namespace baton::bench
