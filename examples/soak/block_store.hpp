#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "examples/soak/chance.hpp"
#include "messages/ids.hpp"
#include "messages/layout.hpp"
#include "messages/wire.hpp"

namespace baton::soak {

/// A request's blocks on one rank: a table per group of the rank.
using block_tables = std::vector<group_blocks>;

/// What `block_store::take` gives.
struct taken_blocks {
  block_tables tables;
  std::uint64_t touched = 0; ///< bytes in them that somebody wrote while they were free
};

/// The blocks of one rank. Released ones are rewritten at once and are the next to be taken, so
/// that whoever still reads them, or still writes them, is found out. Not thread-safe.
class block_store {
public:
  /// @param pools  as many and as large as the layout says; must outlive this.
  /// @param seed   of the bytes that requests have; the same on all ranks of a run.
  block_store(const rank_layout& layout, std::vector<std::span<std::byte>> pools,
              std::uint64_t seed);

  /// Takes blocks for a request, in an order that helps nobody. Leading blocks that lie before a
  /// group's window may be left out.
  ///
  /// @returns nothing if there are not enough.
  [[nodiscard]] std::optional<taken_blocks> take(std::uint32_t tokens, chance& draw);

  /// Writes a request's bytes of a range of tokens, as far as there are blocks for them.
  void write(request_id request, const block_tables& tables, token_range tokens);

  /// Returns how many bytes are wrong of what a completed request was to bring: all tokens from
  /// `cached` on, or from a group's window on.
  [[nodiscard]] std::uint64_t mismatched(request_id request, const block_tables& tables,
                                         std::uint32_t tokens, std::uint32_t cached) const;
  /// Returns how many bytes of blocks that were cached as a whole have been touched.
  [[nodiscard]] std::uint64_t touched_cached(const block_tables& tables,
                                             std::uint32_t cached) const;

  /// Rewrites what a request has, and keeps it.
  void rewrite(const block_tables& tables);
  /// Rewrites the blocks; they are the next to be taken.
  void release(const block_tables& tables);

private:
  struct group_state {
    std::vector<std::uint32_t> free; ///< the last one is taken first
    std::vector<std::byte> poison;   ///< what each block was rewritten with
  };

  [[nodiscard]] std::span<std::byte> part(const group_layout& group, const buffer_layout& buffer,
                                          std::uint32_t block) const;
  [[nodiscard]] std::uint64_t touched(std::size_t group, std::uint32_t block) const;
  void poison(std::size_t group, std::uint32_t block);

  const rank_layout& layout_;
  std::vector<std::span<std::byte>> pools_;
  std::uint64_t seed_;
  std::vector<group_state> groups_;
  std::uint8_t next_poison_ = 1;
};

} // namespace baton::soak
