#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "examples/bench/actor_rank.hpp"
#include "examples/bench/remote_rank.hpp"

namespace baton::bench {

/// A context and a generation rank, each a whole rank in a process of its own.
class actor_pair {
public:
  explicit actor_pair(const cache_setup& setup);
  /// @param context, generation see `actor_start`.
  actor_pair(const nlohmann::json& context, const nlohmann::json& generation);

  [[nodiscard]] remote_rank& context() noexcept { return context_; }
  [[nodiscard]] remote_rank& generation() noexcept { return generation_; }
  [[nodiscard]] std::uint16_t echo_port() const noexcept { return echo_port_; }
  /// Returns the arguments of a verb that concerns requests `first` to `first + count`.
  [[nodiscard]] nlohmann::json range(std::uint64_t first, std::uint64_t count) const;

  /// Offers requests, then receives one after the other. @returns microseconds of each.
  [[nodiscard]] std::vector<double> hand_over(std::size_t first, std::size_t count);
  /// The same with the parameters that a router carries. @returns `waited` and `total`
  /// microseconds of each.
  [[nodiscard]] nlohmann::json hand_over_by_params(std::size_t first, std::size_t count,
                                                   bool ticket);
  /// The same for all at once. @returns microseconds from the first call to the last end.
  [[nodiscard]] double hand_over_together(std::size_t first, std::size_t count);
  /// Checks all bytes, once all requests were handed over.
  void check();
  void end();

private:
  remote_rank context_;
  remote_rank generation_;
  std::string endpoint_;
  std::uint16_t echo_port_ = 0;
};

} // namespace baton::bench
