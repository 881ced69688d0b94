#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/handoff/child.hpp"
#include "examples/handoff/network.hpp"
#include "examples/handoff/report.hpp"
#include "examples/handoff/run_settings.hpp"
#include "examples/handoff/scenario.hpp"

namespace baton::handoff {

using run_clock = std::chrono::steady_clock;

enum class rank_life {
  running,
  resting, ///< stopped, to be resumed
  stopped, ///< for good
  killed,
  falling,   ///< killed, and its place is about to be taken
  returning, ///< a new process in its place is not ready yet
};

/// One rank process, as the runner knows it.
struct rank_run {
  rank_run(rank_name which, child started, int ordinal)
      : name{which}, process{std::move(started)}, gpu{ordinal} {}

  rank_name name;
  child process;
  int gpu; ///< ordinal, as its process counts; -1: none
  rank_life life = rank_life::running;
  bool gone = false; ///< its socket is closed: nothing more will come
  bool started = false;
  bool ready = false;
  std::string endpoint;                           ///< where its next process listens as well
  std::string params;                             ///< for the other side, in hex
  std::optional<run_clock::time_point> resume_at; ///< or when its new process was ready
  run_clock::time_point return_by;
  std::optional<wrong_bytes> finished;

  /// Whether it will still answer.
  [[nodiscard]] bool answers() const noexcept {
    return !gone && life != rank_life::stopped && !is_away();
  }
  /// Whether a new process will answer instead of it.
  [[nodiscard]] bool is_away() const noexcept {
    return life == rank_life::falling || life == rank_life::returning;
  }
};

struct request_run {
  /// One side hears of it, then both.
  enum class stage { waiting, one_told, both_told, ended } stage = stage::waiting;
  run_clock::time_point started;
  std::set<rank_name> acknowledged; ///< ranks whose transceiver has taken it in
  std::set<rank_name> bereft;       ///< ranks that were restarted while it was in flight
  std::map<rank_name, nlohmann::json> outcomes;
};

/// A side that is cut off for a while.
struct outage {
  run_clock::time_point begin;
  run_clock::time_point heal_at;
  std::optional<run_clock::time_point> calm_at; ///< set once it is healed
};

struct fault_run {
  std::optional<run_clock::time_point> act_at; ///< set once the rank parks
  bool acted = false;
  run_clock::time_point acted_at;
};

/// A run under way, shared by the parts of the runner. Main thread only.
struct run_state {
  run_state(const scenario& what, const run_settings& how)
      : run{what}, settings{how}, requests(what.requests.size()), faults(what.faults.size()) {}

  const scenario& run;
  const run_settings& settings;
  std::optional<two_networks> networks; ///< none on loopback
  std::uint64_t instance = 0;           ///< part of the names of both instances
  per_side<std::optional<outage>> outages;
  std::deque<rank_run> ranks;
  std::vector<request_run> requests; ///< as in the scenario
  std::vector<fault_run> faults;     ///< as in the scenario
  std::set<std::size_t> touched;     ///< requests that an event may have moved on
  std::vector<std::string> problems; ///< why the run has failed
  wrong_bytes wrong;                 ///< of all ranks that have finished
  bool starting = true;              ///< not all ranks are ready yet

  [[nodiscard]] rank_run& rank_of(rank_name name);
  [[nodiscard]] bool takes_part(const rank_run& rank, std::size_t request) const noexcept;
  /// Whether the fault at this position waits for the request at that one.
  [[nodiscard]] bool concerns(std::size_t fault, std::size_t request) const noexcept;
  /// Whether some rank's next process is not ready yet.
  [[nodiscard]] bool waits_for_ranks() const noexcept;
  /// Whether some side is cut off for a while, or feels that it was.
  [[nodiscard]] bool waits_for_network() const noexcept;

  /// The side that hears of a request first.
  [[nodiscard]] instance_role first_side() const noexcept;
  /// Tells a rank of the request at this position.
  void tell(rank_run& rank, std::size_t request);

  template <class... Args>
  void problem(fmt::format_string<Args...> format, Args&&... args) {
    problems.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
};

} // namespace baton::handoff
