#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <mutex>
#include <vector>

#include "transport/base/copy_pool.hpp"
#include "transport/ucx/chunk_mover.hpp"

namespace baton {

/// Moves chunks of host pools by copy threads, so that large copies never hold up UCX. Small chunks
/// are moved within the call, and all of them where this process has no core to spare for that.
class host_mover final : public chunk_mover {
public:
  /// @param copies must outlive the mover.
  /// @param pools starts of the rank's pools.
  /// @param wake called by copy threads, when there is something for `progress`.
  host_mover(copy_pool& copies, std::vector<std::byte*> pools, std::function<void()> wake);

  void gather(chunk_move what, completion done) override;
  void scatter(chunk_move what, completion done) override;
  bool scatter_now(const chunk_move& what, const std::byte* from) override;
  bool progress() override;
  [[nodiscard]] std::size_t open() const noexcept override { return open_; }
  /// Copies of the host always end.
  void abandon(const error& /*why*/) override {}
  [[nodiscard]] std::optional<error> failure() const override { return copies_.failure(); }
  [[nodiscard]] std::optional<std::chrono::microseconds>
  nap(std::chrono::microseconds) const noexcept override {
    return std::nullopt;
  }

private:
  class job;
  using copier = void (host_mover::*)(const chunk_move&) const noexcept;

  void gather_here(const chunk_move& what) const noexcept;
  void scatter_here(const chunk_move& what) const noexcept;
  void run(chunk_move what, completion done, copier copy);

  struct end {
    completion done;
    expected<> moved;
  };
  /// @param one that ended, and nothing else: to pass it on takes no memory.
  void ended(std::list<end> one);

  copy_pool& copies_;
  const std::uint64_t inline_bytes_;
  const std::vector<std::byte*> pools_;
  const std::vector<const std::byte*> readable_;
  const std::function<void()> wake_;
  std::size_t open_ = 0;
  std::mutex mutex_;
  std::list<end> ended_; ///< guarded
  std::list<end> taken_; ///< of these, by the data thread
};

} // namespace baton
