#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "examples/handoff/layouts.hpp"
#include "messages/layout.hpp"

namespace baton::tests {

/// Returns the seed of the random tests: BATON_SEED from the environment, else a fixed one. Prints
/// it.
[[nodiscard]] std::uint64_t seed();

/// Returns a number in `[low, high]`.
[[nodiscard]] std::uint32_t pick(std::mt19937_64& random, std::uint32_t low, std::uint32_t high);

/// Returns true in `percent` of all calls.
[[nodiscard]] bool chance(std::mt19937_64& random, std::uint32_t percent);

/// Builds an instance, or fails the test.
[[nodiscard]] std::vector<rank_layout> build(const handoff::model_spec& model,
                                             const handoff::side_spec& side, instance_role role);

/// A context and a generation instance of the same model.
struct instances {
  std::vector<rank_layout> context;
  std::vector<rank_layout> generation;
  std::string text; ///< what they look like, for messages
};

/// Small random instances of all kinds: heads that match, do not match or are replicated; MLA;
/// uneven stages; groups with windows; block scales and an indexer beside the keys; state, also
/// with sections of the convolution; block sizes, inner and pool orders that differ; value before
/// key; padding between and in slots.
[[nodiscard]] instances random_instances(std::mt19937_64& random);

/// The same, of which the generation keeps its attention cache in another type, to which the
/// context's is converted. State stays bytes.
[[nodiscard]] instances random_converting_instances(std::mt19937_64& random);

} // namespace baton::tests
