#pragma once

#include <array>
#include <cstdint>

#include "examples/tiny_llm/cache.hpp"
#include "examples/tiny_llm/comm.hpp"
#include "examples/tiny_llm/config.hpp"
#include "examples/tiny_llm/engine.hpp"
#include "transport/seam/data_plane.hpp"

namespace tiny_llm {

/// What is to be computed.
struct job {
  model_config model;
  std::uint32_t prompt_tokens = 45;
  std::uint32_t tokens = 64; ///< after the first one, which the prefill gives
  baton::lane_policy lanes = baton::lane_policy::automatic;
  bool flip_bit = false; ///< spoil one bit of the cache that generation rank 0 received
};

/// One process's share of a job, as the parent hands it over.
struct rank_task {
  static constexpr std::size_t most_ranks = 16;

  job what{};
  baton::instance_role role = baton::instance_role::context;
  place self{};
  cache_shape shape{};
  std::array<int, most_ranks> peers{}; ///< descriptors of the channels to the others, by rank
};

/// Prefill and decode in one process, without a hand-over.
void run_alone(const job& what, const logits_sink& sink);

/// Runs one rank of an instance in this process. What it and its parent say to each other:
///
///     parent:  the rank_task
///              to all but rank 0: the endpoint of the own instance's rank 0
///     rank 0:  its endpoint
///     parent:  to generation ranks: the endpoint of the context's rank 0
///     rank:    logits of each step, from tp rank 0 of the last stage; before the
///              decoding, and after the prefill: a text about the hand-over
///     parent:  the end of the channel, after which the rank ends
void run_rank(channel& parent);

} // namespace tiny_llm
