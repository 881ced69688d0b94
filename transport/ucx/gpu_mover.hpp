#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "gpu/copy_engine.hpp"
#include "messages/error.hpp"
#include "transport/plan/shape_cache.hpp"
#include "transport/ucx/chunk_mover.hpp"

namespace baton {

/// Moves chunks of pools on a GPU by a kernel each. Staging memory must be memory of that GPU, or
/// page-locked host memory.
class gpu_mover final : public chunk_mover {
public:
  /// @param engine becomes the mover's own.
  /// @param pools where the rank's pools start, for kernels.
  gpu_mover(copy_engine engine, const std::vector<std::byte*>& pools);
  ~gpu_mover() override;

  void gather(chunk_move what, completion done) override;
  void scatter(chunk_move what, completion done) override;
  /// Never: kernels cannot read such memory.
  bool scatter_now(const chunk_move& what, const std::byte* from) override;
  bool progress() override;
  [[nodiscard]] std::size_t open() const noexcept override { return open_.size(); }
  void abandon(const error& why) override;
  [[nodiscard]] std::optional<std::chrono::microseconds>
  nap(std::chrono::microseconds idle) const noexcept override;

private:
  void launch(shape_cache& shapes, chunk_move what, completion done);

  shape_cache gathers_;
  shape_cache scatters_;
  copy_engine engine_;
  std::unordered_map<copy_ticket, completion> open_;
  std::deque<copy_report> reports_; ///< whose completions were not called yet
};

} // namespace baton
