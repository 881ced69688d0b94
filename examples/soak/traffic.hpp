#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

#include "examples/soak/fleet.hpp"

namespace baton::soak {

/// The requests in flight: begins them, hears how they end, and judges that.
class traffic {
public:
  /// The longest that a request may take.
  static constexpr std::chrono::milliseconds longest_timeout{4'000};

  traffic(const settings& how, figures& found, chance& draw, fleet& ranks);

  /// Begins requests until as many are in flight as there should be.
  void begin_more();
  /// Tells ranks what is due, and gives up what is long overdue.
  void advance();
  /// Takes `ended` and `cancelled` of a rank.
  void take(rank_run& rank, const nlohmann::json& event);
  /// The rank's process is gone, with its part of all requests.
  void forget(const rank_run& rank);

  /// Notes a fault of a rank, or of all ranks of an instance: from now on the others' time runs
  /// until they have their blocks back. A victim that lives on counts among them.
  void note(fault_kind kind, const instance_run& home, const rank_run* victim, bool lives_on);
  /// Has one request cancelled by a rank of the side. Returns whether there was one.
  bool cancel(instance_role side);

  [[nodiscard]] bool idle() const noexcept { return flights_.empty() && cancels_.empty(); }

private:
  using fault_number = std::size_t;
  struct fault_note {
    fault_kind kind;
    soak_clock::time_point at;
  };
  /// A rank's part of a request.
  struct part {
    rank_run* rank = nullptr;
    std::uint64_t birth = 0; ///< of the rank
    nlohmann::json command;
    soak_clock::time_point due;
    bool told = false;
    bool gone = false; ///< the rank's process ended before the part did
    std::optional<nlohmann::json> ended;
    std::vector<fault_number> faults;

    [[nodiscard]] bool open() const noexcept { return !gone && !ended; }
  };
  struct flight {
    instance_run* context = nullptr;
    instance_run* generation = nullptr;
    std::uint32_t tokens = 0;
    std::chrono::milliseconds timeout{0};
    bool provoked = false; ///< something was done to its ranks, or to itself
    std::vector<part> parts;
  };
  using flights = std::map<std::uint64_t, flight>;

  bool begin();
  instance_run* choose(instance_role role, const instance_run* partner, std::uint32_t tokens);
  void add_parts(flight& made, std::uint64_t id);
  void tell(flight& one, part& piece);
  void take_end(std::uint64_t id, flight& one, part& piece, const nlohmann::json& event);
  void count_end(std::uint64_t id, const flight& one);
  void look_for_hung(std::uint64_t id, flight& one);

  const settings& how_;
  figures& found_;
  chance& draw_;
  fleet& ranks_;
  flights flights_;
  std::map<std::pair<const rank_run*, std::uint64_t>, soak_clock::time_point> cancels_;
  std::vector<fault_note> faults_;
  std::uint64_t last_id_ = 0;
};

} // namespace baton::soak
