#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "gpu/copy_engine.hpp"
#include "gpu/memory.hpp"

namespace baton::test {

/// Kinds of runs that a random shape may have.
enum class run_style : std::uint8_t {
  aligned, ///< multiples of 16
  odd,     ///< any alignment, up to a few hundred bytes
  bytes,   ///< one byte each
  words,   ///< 2, 4 or 8 bytes aligned, but differently on both sides
  huge,    ///< a few that are longer than several tiles, with ragged ends
  mixed,   ///< of all of these
};
inline constexpr run_style run_styles[] = {run_style::aligned, run_style::odd,  run_style::bytes,
                                           run_style::words,   run_style::huge, run_style::mixed};

/// A template on two pools of equal size, with pairs of slots. No two runs write the same byte.
struct random_part {
  std::uint64_t source_stride = 0;
  std::uint64_t destination_stride = 0;
  std::vector<copy_run> runs;
  std::vector<copy_pair> pairs;

  [[nodiscard]] std::uint64_t pair_bytes() const;
  [[nodiscard]] std::uint64_t bytes() const { return pair_bytes() * pairs.size(); }
};

/// Makes a part that stays within `pool_bytes`, at least 1 KiB, on both sides.
[[nodiscard]] random_part random_shape(run_style style, std::uint64_t pool_bytes,
                                       std::mt19937_64& random, std::size_t most_pairs = 70);

/// What the kernels must do, done on the host.
void pull(const random_part& part, const std::byte* source, std::byte* destination);
[[nodiscard]] std::vector<std::byte> gather(const random_part& part, const std::byte* source);
/// Scatters stream bytes [begin, end); `stream` holds all of it.
void scatter(const random_part& part, const std::vector<std::byte>& stream, std::uint64_t begin,
             std::uint64_t end, std::byte* destination);

/// Random bytes.
[[nodiscard]] std::vector<std::byte> random_bytes(std::size_t count, std::mt19937_64& random);

/// The seed of this run: BATON_SEED, or a new one. Printed once.
[[nodiscard]] std::uint64_t test_seed();

/// Polls until the ticket has ended, for at most ten seconds.
[[nodiscard]] copy_report wait_for(copy_engine& engine, copy_ticket ticket);

} // namespace baton::test
