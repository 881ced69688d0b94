#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "messages/error.hpp"
#include "transport/plan/plan_stream.hpp"

namespace baton {

/// A range of a stream, and the staging memory that holds it or is going to.
struct chunk_move {
  std::shared_ptr<const plan_stream> stream;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::byte* staged = nullptr; ///< valid until the completion was called
};

/// Moves chunks between the pools of a rank and its staging memory: the two ends of the ucx lane.
/// Belongs to the data thread. Several moves may run at once, and end in any order.
class chunk_mover {
public:
  /// Called once per move, from within `progress` or, for what is small, from within the call that
  /// began it; when none of the memory is touched any more.
  using completion = std::function<void(expected<>)>;

  virtual ~chunk_mover() = default;

  /// Pools to staging memory.
  virtual void gather(chunk_move what, completion done) = 0;
  /// Staging memory to pools.
  virtual void scatter(chunk_move what, completion done) = 0;
  /// Host memory that is valid during the call only, to pools.
  ///
  /// @returns whether it did; if not, the bytes have to be staged.
  virtual bool scatter_now(const chunk_move& what, const std::byte* from) = 0;

  /// Calls the completions of the moves that ended.
  ///
  /// @returns whether there were any.
  virtual bool progress() = 0;
  /// Moves whose completion was not called yet.
  [[nodiscard]] virtual std::size_t open() const noexcept = 0;
  /// Calls the completions of moves that do not end, since their GPU hangs: what they use may still
  /// be touched.
  virtual void abandon(const error& why) = 0;
  /// What a failure that the network reports comes from, if it comes from the memory that is moved:
  /// that of a GPU which works no more.
  [[nodiscard]] virtual error explain(error why) { return why; }
  /// Why nothing can be moved any more.
  [[nodiscard]] virtual std::optional<error> failure() const = 0;
  /// See `progress_source::nap`.
  [[nodiscard]] virtual std::optional<std::chrono::microseconds>
  nap(std::chrono::microseconds idle) const noexcept = 0;
};

} // namespace baton
