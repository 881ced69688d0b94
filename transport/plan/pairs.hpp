#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "messages/error.hpp"
#include "messages/layout.hpp"

namespace baton {

/// The heads of one (layer, role, section) that one receiver reads from one source.
struct head_part {
  std::uint32_t source_group = 0; ///< index into the source's `rank_layout::groups`
  std::uint32_t source_buffer = 0;
  std::uint32_t destination_group = 0;
  std::uint32_t destination_buffer = 0;
  std::uint32_t first_head = 0; ///< global
  std::uint32_t head_count = 0;

  friend bool operator==(const head_part&, const head_part&) = default;
};

/// All that one receiver reads from one source. Never empty.
struct rank_pair {
  std::uint32_t source = 0;      ///< rank in the context instance
  std::uint32_t destination = 0; ///< rank in the generation instance
  std::vector<head_part> parts;  ///< in the destination's order of buffers, then head

  friend bool operator==(const rank_pair&, const rank_pair&) = default;
};

/// Who reads what from whom: a pure function of the two instances' layouts, evaluated alike on both
/// sides. Every head of every buffer of every receiver appears in exactly one of its pairs. Where
/// several sources hold the same data, the layers are spread over them.
struct pair_table {
  std::vector<rank_pair> pairs; ///< sorted by (destination, source)
  /// For each context rank of the dp group from which nobody pulls: the generation rank that tells
  /// it so.
  struct idle_source {
    std::uint32_t source = 0;
    std::uint32_t teller = 0;
    friend bool operator==(const idle_source&, const idle_source&) = default;
  };
  std::vector<idle_source> idle;

  /// Returns the pair of two ranks, or nullptr.
  [[nodiscard]] const rank_pair* find(std::uint32_t source,
                                      std::uint32_t destination) const noexcept;
  /// Returns the sources of one receiver, ascending. The first of them carries the aux data.
  [[nodiscard]] std::vector<std::uint32_t> sources_of(std::uint32_t destination) const;
  /// Returns the receivers of one source, ascending.
  [[nodiscard]] std::vector<std::uint32_t> receivers_of(std::uint32_t source) const;
};

/// What one generation rank has to do with one dp group of a context instance: its part of the
/// `pair_table`.
struct receiver_row {
  struct source {
    rank_pair pair;
    std::uint32_t receivers = 0; ///< how many ranks pull from it, this one included
  };
  std::vector<source> sources;     ///< ascending; the first of them carries the aux data
  std::vector<std::uint32_t> idle; ///< context ranks that it tells that nobody pulls from them
};

/// Computes the table for one request's dp groups (0 without attention data parallelism).
/// Both instances must be complete, in rank order, and `compatible_instances`.
///
/// @returns `invalid_argument` for a dp rank out of range, `incompatible_layout` when no source
/// holds a
///          head that a receiver needs.
[[nodiscard]] expected<pair_table> make_pairs(std::span<const rank_layout> context,
                                              std::uint32_t context_dp,
                                              std::span<const rank_layout> generation,
                                              std::uint32_t generation_dp);

/// Computes what the table says of one generation rank, without keeping the rest of it. Of both
/// instances only the ranks of the two dp groups need be given.
///
/// @returns as `make_pairs`.
[[nodiscard]] expected<receiver_row> make_receiver_row(std::span<const rank_layout> context,
                                                       std::uint32_t context_dp,
                                                       std::span<const rank_layout> generation,
                                                       const rank_layout& destination);

/// Computes what the tables of a context rank's dp group with each dp group of the generation say
/// of that rank, without keeping the rest: its pairs with all of its receivers, ascending.
///
/// @returns as `make_pairs`.
[[nodiscard]] expected<std::vector<rank_pair>>
make_source_row(std::span<const rank_layout> context, const rank_layout& source,
                std::span<const rank_layout> generation);

} // namespace baton
