#pragma once

#include <cstdint>
#include <optional>

#include "examples/handoff/scenario.hpp"
#include "messages/error.hpp"

namespace baton::handoff {

/// Whether any rank of the scenario needs a GPU.
[[nodiscard]] bool needs_gpu(const scenario& run) noexcept;

/// Finds the GPU of a rank: that of its pools, or, for host pools, the one that brings in what the
/// other side has on GPUs. Without a number in `memory`, rank r uses GPU r mod `gpus`, and the
/// generation side counts on from the context side.
///
/// @param gpus  how many there are; greater than 0.
/// @returns nullopt if the scenario needs no GPU; `gpu_failed` if there is no such GPU, the text
///          names the scenario's field.
[[nodiscard]] expected<std::optional<std::uint32_t>> gpu_of(const scenario& run, rank_name rank,
                                                            std::uint32_t gpus);

} // namespace baton::handoff
