#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "examples/handoff/child.hpp"
#include "examples/soak/figures.hpp"
#include "examples/soak/topology.hpp"

namespace baton::soak {

using soak_clock = std::chrono::steady_clock;

enum class rank_life : std::uint8_t {
  away,     ///< no process
  starting, ///< its endpoint is not up yet
  up,
  stopped, ///< SIGSTOP
  leaving, ///< shuts down
  dying,   ///< killed, not all of its last words are read
};

struct instance_run;

/// One rank, through all its lives.
struct rank_run {
  instance_run* home = nullptr;
  std::uint32_t number = 0;
  rank_life life = rank_life::away;
  std::optional<handoff::child> process;
  std::uint64_t birth = 0; ///< counts its lives
  std::uint16_t port = 0;  ///< of the first life, and then of all
  std::string endpoint;
  std::string params;
  soak_clock::time_point since;                     ///< when `life` began
  soak_clock::time_point resumed;                   ///< the last SIGCONT
  std::optional<soak_clock::time_point> start_at{}; ///< when its next process is due
  std::optional<nlohmann::json> told;               ///< the answer to the last `level`
  std::optional<nlohmann::json> crash;              ///< what a dying process said

  [[nodiscard]] std::string name() const;
};

/// One instance, from its joining to its end.
struct instance_run {
  instance_plan plan;
  std::deque<rank_run> ranks;
  bool leaving = false;
  std::uint32_t requests = 0;       ///< in flight
  std::uint32_t tokens = 0;         ///< likewise
  soak_clock::time_point disturbed; ///< the last time that something was done to it

  /// Whether all ranks are there and work.
  [[nodiscard]] bool whole() const;
  /// Whether requests may be sent to it, whatever state its ranks are in.
  [[nodiscard]] bool known() const;
};

/// All instances, each rank a process of its own. Nothing in here waits for long. Not thread-safe.
class fleet {
public:
  struct listener {
    std::function<void(rank_run&, const nlohmann::json&)> event; ///< `ended`, `cancelled`
    std::function<void(rank_run&)> lost; ///< its process is gone, and all that it said was read
  };

  fleet(const settings& how, figures& found, chance& draw, listener ears);

  void join(instance_plan plan);
  /// Lets an instance go: orderly, or by killing all ranks. It is gone once nothing is in flight
  /// with it.
  void part_with(instance_run& instance, bool orderly);

  void kill(rank_run& rank, std::optional<std::chrono::milliseconds> back_after);
  void shut_down(rank_run& rank, std::chrono::milliseconds drain,
                 std::optional<std::chrono::milliseconds> back_after);
  void stop(rank_run& rank);
  void resume(rank_run& rank);
  void post(rank_run& rank, const nlohmann::json& command);

  /// Takes in what ranks say, waiting a moment for it, and brings on what was begun.
  void pump();

  [[nodiscard]] std::list<instance_run>& instances() noexcept { return instances_; }
  /// Whether all ranks of all instances are there and work.
  [[nodiscard]] bool calm() const;

private:
  void start(rank_run& rank);
  void take(rank_run& rank, const nlohmann::json& event);
  void take_end(rank_run& rank);
  void bury(rank_run& rank, const std::string& ending);
  void bring_on(rank_run& rank);
  void set(rank_run& rank, rank_life life);

  const settings& how_;
  figures& found_;
  chance& draw_;
  listener ears_;
  std::list<instance_run> instances_;
};

} // namespace baton::soak
