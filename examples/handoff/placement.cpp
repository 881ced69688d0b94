#include "examples/handoff/placement.hpp"

namespace baton::handoff {

bool needs_gpu(const scenario& run) noexcept {
  return run.memory.context.on_gpu() || run.memory.generation.on_gpu();
}

expected<std::optional<std::uint32_t>> gpu_of(const scenario& run, rank_name rank,
                                              std::uint32_t gpus) {
  if (!needs_gpu(run))
    return std::nullopt;
  const auto& memory = run.memory[rank.side];
  if (memory.device && *memory.device >= gpus)
    return fail(errc::gpu_failed, "{}.memory: there is no GPU {}, only 0 to {}; name one of these",
                to_string(rank.side), *memory.device, gpus - 1);
  if (memory.device)
    return *memory.device;
  const auto before =
      rank.side == instance_role::context ? 0 : run.sides.context.tp * run.sides.context.pp;
  return (before + rank.rank) % gpus;
}

} // namespace baton::handoff
