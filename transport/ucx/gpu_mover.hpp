#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gpu/copy_engine.hpp"
#include "messages/error.hpp"
#include "transport/base/gpu_watch.hpp"
#include "transport/plan/shape_cache.hpp"
#include "transport/ucx/chunk_mover.hpp"

namespace baton {

/// Moves chunks of pools on a GPU by a kernel each. Staging memory must be memory of that GPU, or
/// page-locked host memory.
class gpu_mover final : public chunk_mover {
public:
  /// @param engine becomes the mover's own.
  /// @param pools where the rank's pools start, for kernels.
  /// @param watch must outlive the mover. It is told of the GPU's end.
  gpu_mover(copy_engine engine, const std::vector<std::byte*>& pools, gpu_watch& watch);
  ~gpu_mover() override;

  void gather(chunk_move what, completion done) override;
  void scatter(chunk_move what, completion done) override;
  /// Never: kernels cannot read such memory.
  bool scatter_now(const chunk_move& what, const std::byte* from) override;
  bool progress() override;
  [[nodiscard]] std::size_t open() const noexcept override { return open_.size(); }
  void abandon(const error& why) override;
  [[nodiscard]] error explain(error why) override { return watch_.judge(std::move(why)); }
  [[nodiscard]] std::optional<error> failure() const override { return watch_.failure(); }
  [[nodiscard]] std::optional<std::chrono::microseconds>
  nap(std::chrono::microseconds idle) const noexcept override;

private:
  void launch(shape_cache& shapes, chunk_move what, completion done);
  void end(const copy_report& report);

  shape_cache gathers_;
  shape_cache scatters_;
  copy_engine engine_;
  gpu_watch& watch_;
  std::unordered_map<copy_ticket, completion> open_;
  std::deque<copy_report> reports_; ///< whose completions were not called yet
};

} // namespace baton
