#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "messages/element_type.hpp"
#include "messages/error.hpp"
#include "messages/ids.hpp"

namespace baton {

/// What a buffer holds. The numbers are part of the wire format and of the scenario's byte pattern.
enum class cache_role : std::uint8_t {
  key = 0,
  value = 1,
  latent = 2,
  indexer_key = 3,
  key_scale = 4,
  value_scale = 5,
  conv = 6,
  ssm = 7,
};
inline constexpr cache_role last_cache_role = cache_role::ssm;

/// Where a pool lies.
enum class memory_kind : std::uint8_t { host = 1, cuda };

/// Which half of the hand-over an instance does.
enum class instance_role : std::uint8_t { context = 1, generation };

[[nodiscard]] std::string_view to_string(cache_role role) noexcept;
[[nodiscard]] std::string_view to_string(memory_kind kind) noexcept;
[[nodiscard]] std::string_view to_string(instance_role role) noexcept;

/// A half-open range of token positions `[begin, end)` of a request.
struct token_range {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;

  [[nodiscard]] bool empty() const noexcept { return begin >= end; }
  [[nodiscard]] std::uint32_t size() const noexcept { return empty() ? 0 : end - begin; }
  friend bool operator==(const token_range&, const token_range&) = default;
};

/// Returns the common part of two ranges; `{0, 0}` if there is none.
[[nodiscard]] token_range intersect(token_range a, token_range b) noexcept;

/// A half-open range of global layer numbers `[begin, end)`; all layers, unless told otherwise.
struct layer_range {
  static constexpr std::uint32_t no_end = UINT32_MAX;

  std::uint32_t begin = 0;
  std::uint32_t end = no_end; ///< `no_end`: every layer from `begin` on

  [[nodiscard]] bool empty() const noexcept { return end != no_end && begin >= end; }
  [[nodiscard]] bool contains(std::uint32_t layer) const noexcept {
    return layer >= begin && (end == no_end || layer < end);
  }
  [[nodiscard]] bool contains(layer_range other) const noexcept {
    return other.begin >= begin && other.end <= end;
  }
  friend bool operator==(const layer_range&, const layer_range&) = default;
};

/// Returns the common part of two ranges; it may be empty.
[[nodiscard]] layer_range common_layers(layer_range a, layer_range b) noexcept;

/// Returns e.g. "[8, 16)", or "[8, ...)" for one without an end.
[[nodiscard]] std::string to_string(layer_range layers);

/// One memory pool of a rank: `slots` slots of `slot_bytes` bytes, `slots * slot_bytes` bytes in
/// all.
struct pool_layout {
  memory_kind kind = memory_kind::host;
  /// CUDA ordinal in the owner's process; means nothing to a peer. 0 for host pools.
  std::uint32_t device = 0;
  /// CUDA device UUID; empty for host pools.
  std::string device_uuid{};
  std::uint64_t slot_bytes = 0;
  std::uint64_t slots = 0;

  [[nodiscard]] std::uint64_t bytes() const noexcept { return slot_bytes * slots; }
  friend bool operator==(const pool_layout&, const pool_layout&) = default;
};

/// The strided view of one (layer, role, section) in a pool. Element (slot, head, token, dim) lies
/// at byte
///
///     offset + slot * slot_stride + (head - first_head) * head_stride + token * token_stride
///            + dim * element size
///
/// from the pool's start, with `token` counted within the slot. All strides are in bytes; the
/// `head_dim` elements of one (head, token) are contiguous.
struct buffer_layout {
  std::uint32_t layer = 0; ///< global layer number
  cache_role role = cache_role::key;
  std::uint32_t pool = 0; ///< index into `rank_layout::pools`
  std::uint64_t offset = 0;
  std::uint64_t slot_stride = 0;
  std::uint32_t first_head = 0;  ///< global number of the first head held here
  std::uint32_t head_count = 0;  ///< heads held here
  std::uint32_t total_heads = 0; ///< heads of the whole model
  std::uint64_t head_stride = 0;
  std::uint64_t token_stride = 0;
  std::uint32_t head_dim = 0; ///< elements per (head, token)
  element_type type = element_type::bf16;
  /// Which part of its (layer, role) this is. Only `conv` has more than part 0: each section of its
  /// state (x, B, C ...) is sharded by itself, with heads and a total of its own; where it may be
  /// cut between any two elements, these are the heads. Rows of a state that is sharded along them
  /// are sections too.
  std::uint32_t section = 0;
  /// Of fp8_e4m3: what a stored element must be multiplied with. Empty: 1; one for all heads; or
  /// one per head held here. Each is within `least_scale` and `most_scale`
  /// (messages/conversion.hpp).
  std::vector<float> scales{};

  /// The scale of a head that is held here, by its global number.
  [[nodiscard]] float scale_of(std::uint32_t head) const noexcept {
    if (scales.size() < 2)
      return scales.empty() ? 1.0f : scales.front();
    return scales[head - first_head];
  }
  /// Bytes of one (head, token).
  [[nodiscard]] std::uint64_t row_bytes() const noexcept {
    return std::uint64_t{head_dim} * size_of(type);
  }
  friend bool operator==(const buffer_layout&, const buffer_layout&) = default;
};

/// Layers that share one block table.
struct group_layout {
  std::string name{};
  std::uint32_t tokens_per_block = 0;   ///< 0 = one state slot per request
  std::uint32_t window = 0;             ///< sliding window in tokens; 0 = none, as for all state
  std::vector<buffer_layout> buffers{}; ///< sorted by (layer, role, section)

  /// Whether this is recurrent state: one slot a request, final only when all its tokens are.
  [[nodiscard]] bool is_state() const noexcept { return tokens_per_block == 0; }
  /// Whether any layer of a range is held here.
  [[nodiscard]] bool has_any(layer_range layers) const noexcept;
  friend bool operator==(const group_layout&, const group_layout&) = default;
};

/// All that a peer must know of one rank's cache. A plain value; `validate` decides whether it
/// makes sense.
struct rank_layout {
  std::string instance{};
  incarnation life{};
  instance_role role = instance_role::context;
  std::uint32_t rank = 0; ///< pp_rank * tp_size + tp_rank
  std::uint32_t tp_size = 1;
  std::uint32_t pp_size = 1;
  /// Whether each tp rank is a data-parallel group of its own that holds all heads.
  bool attention_dp = false;
  /// A name of the model and its weights that both sides must share.
  std::string model{};
  std::vector<pool_layout> pools{};
  std::vector<group_layout> groups{};

  [[nodiscard]] std::uint32_t tp_rank() const noexcept { return rank % tp_size; }
  [[nodiscard]] std::uint32_t pp_rank() const noexcept { return rank / tp_size; }
  [[nodiscard]] std::uint32_t dp_size() const noexcept { return attention_dp ? tp_size : 1; }
  [[nodiscard]] std::uint32_t dp_rank() const noexcept { return attention_dp ? tp_rank() : 0; }
  [[nodiscard]] std::uint32_t ranks() const noexcept { return tp_size * pp_size; }

  /// Returns the group's index, if this rank has a group of that name.
  [[nodiscard]] std::optional<std::size_t> find_group(std::string_view name) const noexcept;

  friend bool operator==(const rank_layout&, const rank_layout&) = default;
};

/// Limits that every decoded or given layout must keep. They bound the work of validation.
namespace layout_limits {
inline constexpr std::uint32_t ranks = 4096;
inline constexpr std::size_t pools = 4096;
inline constexpr std::size_t groups = 64;
inline constexpr std::size_t buffers = 16384;  ///< per rank
inline constexpr std::uint32_t sections = 256; ///< per (layer, role)
inline constexpr std::uint64_t slots = 1ull << 31;
inline constexpr std::uint64_t pool_bytes = 1ull << 46;
inline constexpr std::size_t name_bytes = 256;
inline constexpr std::size_t encoded_bytes = 4u << 20;    ///< one encoded `rank_layout`
inline constexpr std::size_t instance_bytes = 128u << 20; ///< one encoded instance
inline constexpr std::size_t instance_parts = 1u << 21;   ///< its pools and buffers, of all ranks
} // namespace layout_limits

/// Checks everything that can be checked of one layout: sizes that are zero, heads and ranks out of
/// range, names and (layer, role, section) given twice, element counts that overflow, buffers that
/// overrun their pool, and buffers whose strided sets overlap (each other, or themselves).
///
/// @returns `invalid_argument`; the text names the field, e.g. `groups[0].buffers[3].head_stride`.
[[nodiscard]] expected<> validate(const rank_layout& layout);

/// Decides whether a cache can be handed over between ranks with layouts `a` and `b`: model
/// fingerprint, and for every (layer, role, section) that both hold: group name, window, total
/// heads and head_dim agree, and the context's element type is the generation's, or can be
/// converted to it (messages/conversion.hpp). Scales of heads that both hold in fp8_e4m3 agree, and
/// so do the types of two ranks of the same role. Both must be valid. Symmetric, but for the order
/// of the two values in the text.
///
/// @returns `incompatible_layout`; the text names the field and both values.
[[nodiscard]] expected<> compatible(const rank_layout& a, const rank_layout& b);

/// Checks the layouts of all ranks of one instance, in rank order, against each other: same
/// instance, role, model, tp, pp, attention_dp; every rank once; that a head of fp8_e4m3 has one
/// scale on all ranks; and that the ranks of each dp group hold every head of every layer that any
/// of them holds.
///
/// @returns `invalid_argument`; the text names the rank and the field.
[[nodiscard]] expected<> validate_instance(std::span<const rank_layout> ranks);

/// Decides whether two valid instances fit: the union of layers, roles and sections must be the
/// same on both, and every pair of ranks must be `compatible`.
[[nodiscard]] expected<> compatible_instances(std::span<const rank_layout> context,
                                              std::span<const rank_layout> generation);

/// Serializes a layout as `baton.wire.RankLayout`.
[[nodiscard]] std::string encode(const rank_layout& layout);

/// Parses and validates. Never throws; bounded by `layout_limits`.
///
/// @returns `invalid_argument` for bytes that are no layout, or for a layout that is not valid.
[[nodiscard]] expected<rank_layout> decode_layout(std::string_view bytes);

/// A 64-bit digest of an instance's layouts (FNV-1a over their encodings in rank order, without
/// the incarnations), by which later
/// messages name them.
[[nodiscard]] std::uint64_t digest(std::span<const rank_layout> ranks);

} // namespace baton
