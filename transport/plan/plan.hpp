#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "gpu/copy_shape.hpp"
#include "messages/conversion.hpp"
#include "messages/error.hpp"
#include "messages/layout.hpp"
#include "messages/wire.hpp"
#include "transport/plan/pairs.hpp"

namespace baton {

/// The two pools that a run connects, how far apart their slots are, and what becomes of elements
/// on their way. Bytes.
struct run_lane {
  std::uint32_t source_pool = 0;
  std::uint32_t destination_pool = 0;
  std::uint64_t source_stride = 0;
  std::uint64_t destination_stride = 0;
  element_conversion as{};

  friend bool operator==(const run_lane&, const run_lane&) = default;
};

/// One piece that is contiguous on both sides, relative to slot 0 of both pools. For the pair of
/// slots (s, d) it reads `bytes` from `source + s * source_stride` of the source pool and writes
/// them, or the `as.written(bytes)` that they are converted to, to
/// `destination + d * destination_stride` of the destination pool.
struct run {
  std::uint64_t source = 0;
  std::uint64_t destination = 0;
  std::uint64_t bytes = 0; ///< read; whole elements, if they are converted
  std::uint32_t lane = 0;  ///< index into `run_template::lanes`

  friend bool operator==(const run&, const run&) = default;
};

/// What has to be copied for each of many pairs of slots. Immutable once built; shared between
/// plans.
struct run_template {
  std::vector<run_lane> lanes;
  std::vector<run> runs; ///< in the destination's order; this order is the stream's order
  std::vector<std::uint64_t>
      prefix;              ///< `prefix[i]`: bytes of the runs before run i; runs.size() + 1 values
  std::uint64_t bytes = 0; ///< read per pair of slots
  std::uint32_t grain = 1; ///< bytes of the largest source element that is converted
};

/// A source slot and the destination slot that takes from it, just as kernels read them.
using slot_pair = copy_pair;

/// One template and the pairs of slots it is applied to.
struct plan_part {
  std::shared_ptr<const run_template> shape;
  std::vector<slot_pair> pairs;
};

/// Which bytes of which source block go where. Every slot and every run was checked against the
/// pools.
///
/// **Stream order** (the byte order of the staged lane; both sides derive it independently): for
/// each part in order, for each pair in order, for each run in order, its bytes as they are read:
/// whoever takes them from the stream converts them. It depends on layouts, groups, ranges of
/// tokens and of layers, and the beginnings of tails only, never on slot numbers.
struct plan {
  std::vector<plan_part> parts; ///< none is empty
  std::uint64_t bytes = 0;      ///< read
  std::uint64_t fragments = 0;  ///< runs x pairs
};

/// Where the blocks of one group of a plan lie, on one side or on both. Borrowed for the call.
struct plan_blocks {
  std::string_view group;
  token_range tokens;
  const group_blocks* source = nullptr;      ///< nullptr: the source slots are left 0 and unchecked
  const group_blocks* destination = nullptr; ///< nullptr: likewise
  /// Where the tails of further beams begin on a side without a table; a table says it itself.
  std::vector<std::uint32_t> source_tails{};
  std::vector<std::uint32_t> destination_tails{};
  layer_range layers{}; ///< others are left alone
};

/// Makes the plans from one source rank to one receiver, and remembers their templates.
/// Thread-safe.
class planner {
public:
  /// Both layouts must be valid and compatible, `pair` made by `make_pairs` from their instances.
  planner(rank_layout source, rank_layout destination, rank_pair pair);

  [[nodiscard]] const rank_layout& source() const noexcept { return source_; }
  [[nodiscard]] const rank_layout& destination() const noexcept { return destination_; }
  [[nodiscard]] const rank_pair& pair() const noexcept { return pair_; }

  /// Returns the names of the groups of which this pair moves anything, in stream order.
  [[nodiscard]] const std::vector<std::string>& groups() const noexcept { return groups_; }

  /// Plans the given ranges of tokens and layers; groups that this pair does not move are skipped,
  /// missing ones, empty ranges and ranges without a layer of this pair move nothing. The order of
  /// `blocks` does not matter. What beams share on the destination is moved once, from beam 0; each
  /// destination tail is filled from the source's tail of the same beam, and where that has not
  /// begun yet from beam 0. Takes O(blocks), and O(template) the first time a shape is seen.
  ///
  /// @returns `invalid_argument` for a group given twice, a table that does not cover its range, a
  ///          block id outside of its pools, or unlike counts of beams; the text names them.
  [[nodiscard]] expected<plan> make(std::span<const plan_blocks> blocks) const;

private:
  /// A group of which this pair moves something.
  struct moved_group {
    std::uint32_t source_tokens = 1; ///< per block
    std::uint32_t destination_tokens = 1;
    std::uint64_t source_slots = 0; ///< of the smallest pool that takes part
    std::uint64_t destination_slots = 0;
    std::span<const head_part> parts; ///< of `pair_`, by ascending layer
  };
  struct shape_key {
    std::uint32_t group = 0;      ///< index into `moved_`
    std::uint32_t first_part = 0; ///< of the group's parts, those of the layers planned
    std::uint32_t end_part = 0;
    std::uint32_t source_token = 0;      ///< first token within the source block
    std::uint32_t destination_token = 0; ///< first token within the destination block
    std::uint32_t tokens = 0;
    friend bool operator==(const shape_key&, const shape_key&) = default;
  };
  struct shape_hash {
    std::size_t operator()(const shape_key& key) const noexcept;
  };
  class group_walk;

  [[nodiscard]] moved_group describe(std::span<const head_part> parts) const;
  /// The key of the group's shapes for these layers, as yet without tokens.
  [[nodiscard]] shape_key key_of(std::uint32_t group, layer_range layers) const;
  [[nodiscard]] std::shared_ptr<const run_template> shape(const shape_key& key) const;
  [[nodiscard]] std::shared_ptr<const run_template> build(const shape_key& key) const;
  [[nodiscard]] expected<> add_group(plan& out, std::uint32_t group,
                                     const plan_blocks& blocks) const;

  rank_layout source_;
  rank_layout destination_;
  rank_pair pair_;
  std::vector<std::string> groups_;
  std::vector<moved_group> moved_; ///< in the order of `groups_`
  mutable std::mutex mutex_;
  mutable std::unordered_map<shape_key, std::shared_ptr<const run_template>, shape_hash> shapes_;
  mutable std::size_t remembered_runs_ = 0; ///< in all of `shapes_`
};

} // namespace baton
