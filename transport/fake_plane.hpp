#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <queue>
#include <random>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "transport/seam/data_plane.hpp"
#include "transport/session/retired_keys.hpp"

namespace baton {

/// Virtual time and seeded chance for simulations: everything that happens is an event on one
/// queue. Not thread-safe.
class fake_world {
public:
  using clock = std::chrono::steady_clock;

  explicit fake_world(std::uint64_t seed) : random_{seed} {}

  [[nodiscard]] clock::time_point now() const noexcept { return now_; }

  /// Runs `action` after `delay` of virtual time; equal times run in the order of the calls.
  void after(clock::duration delay, std::function<void()> action);

  /// Runs events until none is left or `until` is reached. Returns whether none is left.
  bool run(clock::time_point until);

  /// Returns a number in `[low, high]`.
  [[nodiscard]] std::uint64_t pick(std::uint64_t low, std::uint64_t high);
  [[nodiscard]] bool chance(double probability);
  /// Returns a random delay of up to `most`.
  [[nodiscard]] clock::duration delay(std::chrono::microseconds most);

private:
  struct event {
    clock::time_point when;
    std::uint64_t order;
    std::function<void()> action;
    bool operator<(const event& other) const noexcept {
      return when != other.when ? when > other.when : order > other.order;
    }
  };

  std::mt19937_64 random_;
  std::priority_queue<event> events_;
  clock::time_point now_{};
  std::uint64_t order_ = 0;
};

/// What can go wrong on a fake lane.
struct fake_faults {
  double pull_failure = 0;  ///< probability that a pull ends as `transport_failed`
  double grant_failure = 0; ///< probability that a grant ends as `out_of_resources`
  std::chrono::microseconds longest_step{2'000}; ///< of a pull, an introduction or a clean-up
};

class fake_plane;

/// A GPU event of a simulation. `gpu_event_ref{&event}` refers to it.
struct fake_event {
  bool complete = false;
  bool failed = false;
};

/// The memory and lanes of all ranks of a simulation.
struct fake_fabric {
  fake_world& world;
  fake_faults faults;
  std::unordered_map<incarnation, fake_plane*> planes;
  /// Of a group that has other layers than just layer 0.
  std::map<std::string, std::vector<std::uint32_t>> layers{};
};

/// A data plane without bytes: each block holds one token, or one state, and of it one number for
/// each layer (what was last written into it), and a pull reads and writes these numbers block by
/// block in virtual time, just as a real lane would: the owner may rewrite a block in the middle,
/// and only the lease tells. For tests of the session protocol. Not thread-safe.
class fake_plane final : public data_plane {
public:
  fake_plane(fake_fabric& fabric, incarnation life);
  ~fake_plane() override;

  /// The number of a layer in a block of a group; 0 if it was never written.
  [[nodiscard]] std::uint64_t block(const std::string& group, std::uint32_t id,
                                    std::uint32_t layer = 0) const;
  void write(const std::string& group, std::uint32_t id, std::uint64_t number,
             std::uint32_t layer = 0);

  /// The process dies: its jobs stop where they are and call nobody; its memory and leases stay as
  /// they are.
  void die();

  [[nodiscard]] std::size_t jobs() const noexcept { return jobs_.size(); }
  /// How many wait for events by `when`.
  [[nodiscard]] std::size_t waits() const noexcept { return waits_.size(); }

  [[nodiscard]] const std::string& manifest() const noexcept override { return manifest_; }
  [[nodiscard]] std::string version() const override { return "fake"; }
  void introduce(peer_card peer, std::function<void(expected<lane_choice>)> done) override;
  void forget(incarnation peer) override;
  [[nodiscard]] expected<lease> grant(session_key owner, grant_spec spec) override;
  void revoke(const lease& right) override;
  void when(session_key owner, gpu_event_ref event, std::function<void(expected<>)> done) override;
  void pull(session_key owner, pull_job job,
            std::function<void(expected<pull_stats>)> done) override;
  void retire(session_key owner, std::function<void()> done) override;
  [[nodiscard]] std::size_t granted() const noexcept override;

private:
  struct copy {
    std::string group;
    std::uint32_t layer = 0;
    slot_pair blocks;
  };

  struct job {
    session_key owner;
    pull_job what;
    std::vector<copy> steps;
    std::size_t at = 0;
    std::function<void(expected<pull_stats>)> done;
    bool cancelled = false;
  };

  struct wait {
    session_key owner;
    const fake_event* event = nullptr;
    std::function<void(expected<>)> done;
  };

  void add_steps(job& to, const group_range& range, const group_blocks& source) const;
  void look(std::uint64_t id);
  void step(std::uint64_t id);
  void finish(std::uint64_t id, expected<pull_stats> result);
  [[nodiscard]] bool valid(const lease& right) const;

  fake_fabric& fabric_;
  incarnation life_;
  std::string manifest_ = "fake";
  bool dead_ = false;
  std::vector<std::uint64_t> words_; ///< lease words; odd = granted
  std::vector<session_key> holders_; ///< by lease slot
  /// By group, block and layer.
  std::map<std::tuple<std::string, std::uint32_t, std::uint32_t>, std::uint64_t> blocks_;
  std::map<std::uint64_t, job> jobs_;
  std::map<std::uint64_t, wait> waits_;
  std::uint64_t last_job_ = 0; ///< also counts the waits
  std::unordered_map<session_key, std::vector<std::function<void()>>> retiring_;
  retired_keys retired_;
};

} // namespace baton
