#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <vector>

#include "gpu/memory.hpp"
#include "transport/rank_plane.hpp"

namespace baton::test {

/// A cache of one group without heads to split: `layers` x (key, value), pieces of `fragment_bytes`
/// per block.
struct cache_shape {
  std::uint32_t layers = 4;
  std::uint32_t slots = 64;
  std::uint32_t tokens_per_block = 16;
  std::uint32_t fragment_bytes = 16 * 1024;

  [[nodiscard]] std::uint64_t slot_bytes() const {
    return std::uint64_t{2} * layers * fragment_bytes;
  }
  [[nodiscard]] std::uint64_t pool_bytes() const { return slot_bytes() * slots; }
};

/// Context ranks keep each layer in a piece of its own, generation ranks each block: no two
/// fragments merge.
[[nodiscard]] rank_layout cache_layout(const cache_shape& shape, instance_role role,
                                       incarnation life);

/// What a rank's pool is made of.
enum class pool_memory : std::uint8_t {
  host,
  device,      ///< GPU memory of our own
  cuda_malloc, ///< GPU memory of the engine
};

/// Says in a layout that its pool is such memory.
void place(rank_layout& layout, pool_memory memory, int device);

/// One rank with its data plane over one pool.
struct plane_rank {
  cache_shape shape;
  rank_layout layout;
  device_buffer engine; ///< memory of the engine, for `cuda_malloc`
  std::shared_ptr<rank_plane> plane;

  /// Creates it, with memory of its own or `adopted` memory.
  plane_rank(const cache_shape& shape, instance_role role, const plane_options& options,
             std::vector<std::byte>* adopted = nullptr);
  /// Creates it with a pool of such memory, on a GPU unless it is host memory.
  plane_rank(const cache_shape& shape, instance_role role, const plane_options& options,
             pool_memory memory, int device);

  [[nodiscard]] incarnation life() const { return layout.life; }
  /// Where one fragment of a slot lies, maybe on a GPU; `buffer` counts (layer, key),
  /// (layer, value), ...
  [[nodiscard]] std::byte* fragment(std::uint32_t slot, std::uint32_t buffer) const;
  /// Fills all with bytes that tell slot, buffer and position apart, and `salt`.
  void fill(std::uint8_t salt) const;
  [[nodiscard]] bool holds(std::uint32_t slot, std::uint32_t pattern_slot, std::uint8_t salt) const;
};

[[nodiscard]] std::byte pattern(std::uint32_t slot, std::uint32_t buffer, std::uint32_t at,
                                std::uint8_t salt);

/// Makes what pulls from a context rank to a generation rank need.
[[nodiscard]] std::shared_ptr<const planner> plan_between(const rank_layout& context,
                                                          const rank_layout& generation);

/// Describes `peer` to `self`, one of them a context and the other a generation rank.
[[nodiscard]] peer_card card_of(const rank_layout& self, const rank_layout& peer,
                                std::string manifest);

inline constexpr std::chrono::seconds patience{20};

/// Waits for a callback's value, boundedly.
template <class T>
class eventually {
public:
  /// Returns the callback. It must be called at most once.
  [[nodiscard]] auto callback() {
    return [promise = promise_](T value) { promise->set_value(std::move(value)); };
  }
  [[nodiscard]] std::optional<T> get(std::chrono::milliseconds limit = patience) {
    if (future_.wait_for(limit) != std::future_status::ready)
      return std::nullopt;
    return future_.get();
  }
  [[nodiscard]] bool ready() const {
    return future_.wait_for(std::chrono::seconds{0}) == std::future_status::ready;
  }

private:
  std::shared_ptr<std::promise<T>> promise_ = std::make_shared<std::promise<T>>();
  std::future<T> future_ = promise_->get_future();
};

[[nodiscard]] expected<lane_choice> introduce(rank_plane& self, peer_card peer);
/// Retires a session.
///
/// @returns whether that ended within the limit.
[[nodiscard]] bool retired(rank_plane& self, session_key session,
                           std::chrono::milliseconds limit = patience);

/// The tokens of `blocks` whole blocks, and their tables.
[[nodiscard]] grant_spec whole_blocks(const cache_shape& shape, incarnation reader,
                                      std::vector<std::uint32_t> blocks);
[[nodiscard]] pull_job job_for(const lease& right, const grant_spec& granted,
                               std::vector<std::uint32_t> destination);

inline constexpr session_key sender{1};
inline constexpr session_key receiver{2};

/// A context and a generation rank in this process that know each other.
struct introduced_ranks {
  introduced_ranks(const cache_shape& shape, const plane_options& options);
  introduced_ranks(plane_rank source, plane_rank destination);

  /// A granted slice, and where it shall go.
  struct offer_made {
    grant_spec granted;
    lease right;
    std::vector<std::uint32_t> destination;
  };
  /// Grants `blocks` random blocks.
  [[nodiscard]] offer_made offer(std::uint32_t blocks, std::uint32_t seed,
                                 session_key owner = sender) const;
  /// Grants as many blocks into the `index`-th of `parts` equal parts of the destination, so that
  /// jobs can run at the same time without writing to the same blocks.
  [[nodiscard]] offer_made offer_part(std::uint32_t index, std::uint32_t parts) const;
  void begin(const offer_made& what, session_key session,
             std::function<void(expected<pull_stats>)> done) const;
  /// Pulls and waits.
  [[nodiscard]] expected<pull_stats> pull(const offer_made& what,
                                          session_key session = receiver) const;
  /// Whether the destination holds what the source was filled with first.
  [[nodiscard]] bool arrived(const offer_made& what) const;
  /// Lets `count` pulls run at the same time. @returns what went wrong, or "".
  [[nodiscard]] std::string pull_at_once(std::uint32_t count) const;
  /// Lets the destination introduce the source again.
  [[nodiscard]] expected<lane_choice> introduce_again() const;

  plane_rank context;
  plane_rank generation;
  lane_choice choice;
};

/// Returns `count` distinct numbers below `limit`, shuffled by `seed`.
[[nodiscard]] std::vector<std::uint32_t> shuffled(std::uint32_t count, std::uint32_t limit,
                                                  std::uint32_t seed);

} // namespace baton::test
