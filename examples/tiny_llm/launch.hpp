#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "examples/tiny_llm/rank.hpp"

namespace tiny_llm {

/// How an instance is cut into ranks, and how these arrange their cache.
struct instance_shape {
  std::uint32_t tp = 1;
  std::uint32_t pp = 1;
  cache_shape cache;
};

using report_sink = std::function<void(const std::string&)>;

/// Runs a job on a context and a generation instance, each rank a process of its own.
///
/// @param sink   sees the logits of each step.
/// @param report gets a line about each rank's part of the hand-over.
/// @throws std::runtime_error naming the rank that failed. No process is left behind.
void run_apart(const job& what, const instance_shape& context, const instance_shape& generation,
               const logits_sink& sink, const report_sink& report);

} // namespace tiny_llm
