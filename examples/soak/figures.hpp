#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/soak/settings.hpp"

namespace baton::soak {

enum class fault_kind : std::uint8_t {
  kill,              ///< SIGKILL of a rank, which comes back as a new incarnation
  kill_instance,     ///< of all ranks of an instance; another one joins
  stop,              ///< SIGSTOP for less than the requests' time
  long_stop,         ///< for more
  shutdown,          ///< orderly, of a rank, which comes back as a new incarnation
  leave,             ///< orderly, of an instance; another one joins
  join,              ///< one more instance
  cancel_context,    ///< of one request, by a rank of the side
  cancel_generation, ///< likewise
};
inline constexpr std::array all_faults{
    fault_kind::kill,      fault_kind::kill_instance,  fault_kind::stop,
    fault_kind::long_stop, fault_kind::shutdown,       fault_kind::leave,
    fault_kind::join,      fault_kind::cancel_context, fault_kind::cancel_generation};

[[nodiscard]] std::string_view to_string(fault_kind kind) noexcept;

/// What came of a soak.
struct figures {
  std::uint64_t requests = 0;
  std::uint64_t completed = 0;                 ///< on every rank of the generation side
  std::uint64_t bytes = 0;                     ///< brought and checked
  std::map<std::string, std::uint64_t> failed; ///< by error code, or "rank lost"
  std::map<std::string, std::uint64_t> lanes;  ///< per source of a completed receive
  std::map<fault_kind, std::uint64_t> faults;
  /// Time from a fault until a rank that survived it had back the blocks of a request in which the
  /// faulty rank's instance had a part, in microseconds. A cancel: of that request, on all ranks.
  std::map<fault_kind, std::vector<std::int64_t>> reclaim;

  std::uint64_t wrong_bytes = 0; ///< in completed requests
  std::uint64_t stray_bytes = 0; ///< in blocks that nobody had, or that were cached
  std::uint64_t late = 0;        ///< ends after deadline and margin
  std::uint64_t hung = 0;        ///< requests, cancels and shutdowns that did not end at all
  std::uint64_t leaks = 0;       ///< descriptors, threads, mappings, leases, entries of maps
  std::uint64_t crashes = 0;     ///< of ranks, other than those of UCX
  std::uint64_t ucx_crashes = 0; ///< of ranks, within UCX
  /// Requests that failed although nothing had been done to their ranks for a while.
  std::uint64_t unprovoked = 0;
  std::uint64_t checks = 0;    ///< of a process against its level after warm-up
  std::uint64_t processes = 0; ///< that were started
  std::chrono::milliseconds duration{0};

  std::vector<std::string> problems; ///< why the soak has failed; the first ones
  std::vector<std::string> notes;    ///< what else is to be told

  template <class... Args>
  void problem(fmt::format_string<Args...> format, Args&&... args) {
    problems.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  [[nodiscard]] bool ok() const noexcept { return problems.empty(); }
};

void print(const figures& found, const settings& how);
[[nodiscard]] nlohmann::ordered_json as_json(const figures& found, const settings& how);

} // namespace baton::soak
