#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/layout.hpp"
#include "messages/wire.hpp"

namespace baton {

/// Limits that manifests and lane messages must keep, beyond `wire_limits::manifest_bytes`.
namespace manifest_limits {
inline constexpr std::size_t name_bytes = 100; ///< an abstract Unix socket's name has at most 107
inline constexpr std::size_t token_bytes = 16;
inline constexpr std::size_t address_bytes = 16u << 10;
inline constexpr std::size_t least_chunk = 4u << 10;
inline constexpr std::size_t most_chunk = 64u << 20;
inline constexpr std::size_t lane_pull_bytes = 64u << 10;
inline constexpr std::size_t reason_bytes = 256;
inline constexpr std::size_t pieces = 4096; ///< of all pools of a rank: each is a descriptor
} // namespace manifest_limits

/// How a pool can be mapped by peers on the same host. The numbers are part of the wire format.
enum class share_kind : std::uint8_t {
  none = 1,    ///< not at all
  memory_file, ///< host memory, by one descriptor of a memfd
  vmm,         ///< GPU memory, by a descriptor for each of its allocations; read-only
  ipc,         ///< GPU memory of cudaMalloc, by a CUDA IPC handle; writable
};

/// One pool, as peers are told of it. Only the fields of its kind are used.
struct pool_share {
  share_kind kind = share_kind::memory_file;
  std::string reason{};                ///< none: why
  std::vector<std::uint64_t> pieces{}; ///< vmm: bytes of the allocations, in a row
  std::array<std::byte, 64> handle{};  ///< ipc: a cudaIpcMemHandle_t
  std::uint64_t offset = 0;            ///< vmm, ipc: where the pool starts in them
  std::uint64_t bytes = 0;             ///< vmm, ipc: of the pool

  /// How many descriptors the export socket sends for it.
  [[nodiscard]] std::size_t descriptors() const noexcept {
    return kind == share_kind::memory_file ? 1 : pieces.size();
  }
  friend bool operator==(const pool_share&, const pool_share&) = default;
};

/// How to reach the data plane of a rank.
struct plane_manifest {
  incarnation life;
  std::string boot_id;       ///< of the host's kernel
  std::string socket;        ///< name of the abstract Unix socket that exports descriptors
  std::string token;         ///< proves that the socket is this rank's
  std::uint32_t user = 0;    ///< effective user id
  std::uint64_t network = 0; ///< number of its network namespace on that host; 0: unknown
  std::string ucx_version;   ///< empty: no ucx lane
  std::string ucx_address;   ///< of its UCX worker
  std::uint64_t chunk_bytes = manifest_limits::least_chunk; ///< largest chunk that it stages
  std::vector<pool_share> pools;                            ///< in the order of the layout

  friend bool operator==(const plane_manifest&, const plane_manifest&) = default;
};

/// Reader to owner on the ucx lane: "send me these tokens, which you granted me".
struct lane_pull {
  incarnation reader;
  std::uint64_t number = 0; ///< of this pull, random
  lease right;
  std::vector<group_range> ranges;
  std::uint64_t bytes = 0;   ///< of the whole stream, as the reader planned it
  std::uint32_t credits = 0; ///< chunks that may be sent at once
  std::uint64_t link = 0;    ///< grows whenever the reader connects anew

  friend bool operator==(const lane_pull&, const lane_pull&) = default;
};

[[nodiscard]] std::string encode(const plane_manifest& manifest);

/// Parses and checks against the limits. Never throws.
///
/// @returns `invalid_argument`; the text names the field.
[[nodiscard]] expected<plane_manifest> decode_manifest(std::string_view bytes);

/// Checks that what a manifest offers is large enough for a layout's pools, and of their kinds.
///
/// @returns `invalid_argument`; the text names the pool and both values.
[[nodiscard]] expected<> fits(std::span<const pool_share> shares,
                              std::span<const pool_layout> pools);

[[nodiscard]] std::string encode(const lane_pull& call);
[[nodiscard]] expected<lane_pull> decode_lane_pull(std::string_view bytes);

} // namespace baton
