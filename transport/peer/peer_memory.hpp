#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "messages/error.hpp"
#include "messages/layout.hpp"
#include "messages/manifest.hpp"
#include "transport/base/memory_file.hpp"
#include "transport/base/unique_fd.hpp"
#include "transport/lease/lease_table.hpp"

namespace baton {

/// The lease table and the host pools of a peer on this host, mapped read-only; and what is needed
/// to map its GPU pools.
class peer_memory {
public:
  /// What is warmed or unmapped in one go: a multiple of the huge pages, a few milliseconds' work.
  static constexpr std::size_t step_bytes = 32u << 20;

  /// @param pools empty mappings for those on a GPU.
  /// @param pieces descriptors of the allocations of GPU pools, of one pool after the other.
  /// @param same_process whether the peer lives in this process.
  peer_memory(lease_view leases, std::vector<mapping> pools, std::vector<unique_fd> pieces = {},
              bool same_process = false);

  [[nodiscard]] const lease_view& leases() const noexcept { return leases_; }
  /// Starts of the pools, in the order of the peer's layout; null for those on a GPU.
  [[nodiscard]] std::span<const std::byte* const> pools() const noexcept { return starts_; }
  /// Whole pages of a host pool.
  [[nodiscard]] std::span<const std::byte> pages(std::size_t pool) const noexcept {
    return {pools_[pool].data(), pools_[pool].size()};
  }
  [[nodiscard]] bool same_process() const noexcept { return same_process_; }
  /// Hands out the descriptors of GPU pools, which nobody needs once they are mapped.
  [[nodiscard]] std::vector<unique_fd> take_pieces() noexcept { return std::exchange(pieces_, {}); }

  /// Brings the next pages of the pools into our page tables, at most a step.
  ///
  /// @param offset where to begin, in the pools as if they lay one behind the other.
  /// @returns where to go on; nothing at the end, or if the kernel has no such service.
  [[nodiscard]] std::optional<std::uint64_t> warm(std::uint64_t offset) const noexcept;

  /// Unmaps at most a step of the pools, which nobody may be reading any more.
  ///
  /// @returns whether some are left.
  [[nodiscard]] bool unmap() noexcept;

private:
  lease_view leases_;
  std::vector<mapping> pools_;
  std::vector<unique_fd> pieces_;
  bool same_process_ = false;
  std::vector<const std::byte*> starts_;
};

/// The import of a peer's memory under way: a connection from which its descriptors arrive. Not
/// thread-safe; it never blocks.
class peer_import {
public:
  using clock = std::chrono::steady_clock;

  /// How long to wait while too many others are waiting for the same server.
  static constexpr std::chrono::milliseconds retry{5};

  /// Begins to connect to the peer's export server.
  ///
  /// @returns `transport_failed` if nobody, or somebody of another user, listens there;
  ///          `invalid_argument` for a manifest that does not fit the pools.
  [[nodiscard]] static expected<peer_import>
  start(plane_manifest manifest, std::vector<pool_layout> pools, clock::time_point deadline);

  /// Readable when `advance` has something to do; -1 while only time helps.
  [[nodiscard]] int descriptor() const noexcept { return connected_ ? socket_.get() : -1; }
  /// When to call `advance` at the latest.
  [[nodiscard]] clock::time_point wake() const noexcept { return connected_ ? deadline_ : again_; }

  /// Takes what arrived, and maps when all is there.
  ///
  /// @returns nothing while more is to come; else the memory, or `transport_failed` for a peer that
  /// is not the
  ///          one of the manifest, sends nonsense, or is too late.
  [[nodiscard]] std::optional<expected<std::unique_ptr<peer_memory>>> advance();

private:
  peer_import() = default;
  [[nodiscard]] expected<> connect();
  [[nodiscard]] expected<bool> receive();
  [[nodiscard]] expected<std::unique_ptr<peer_memory>> map();

  plane_manifest manifest_;
  std::vector<pool_layout> pools_;
  std::size_t wanted_ = 0; ///< descriptors
  clock::time_point deadline_;
  unique_fd socket_;
  bool connected_ = false;
  clock::time_point again_; ///< when to try to connect
  std::vector<unique_fd> descriptors_;
};

} // namespace baton
