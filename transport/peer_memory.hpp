#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "messages/error.hpp"
#include "messages/layout.hpp"
#include "messages/manifest.hpp"
#include "transport/lease_table.hpp"
#include "transport/memory_file.hpp"
#include "transport/unique_fd.hpp"

namespace baton {

/// The pools and the lease table of a peer on this host, mapped read-only. Immutable.
class peer_memory {
public:
  peer_memory(lease_view leases, std::vector<mapping> pools);

  [[nodiscard]] const lease_view& leases() const noexcept { return leases_; }
  /// Starts of the pools, in the order of the peer's layout.
  [[nodiscard]] std::span<const std::byte* const> pools() const noexcept { return starts_; }

private:
  lease_view leases_;
  std::vector<mapping> pools_;
  std::vector<const std::byte*> starts_;
};

/// The import of a peer's memory under way: a connection from which its descriptors arrive. Not
/// thread-safe; it never blocks, but for the mapping itself.
class peer_import {
public:
  using clock = std::chrono::steady_clock;

  /// Connects to the peer's export server.
  ///
  /// @returns `transport_failed` if nobody, or somebody of another user, listens there.
  [[nodiscard]] static expected<peer_import>
  start(plane_manifest manifest, std::vector<pool_layout> pools, clock::time_point deadline);

  /// Readable when `advance` has something to do.
  [[nodiscard]] int descriptor() const noexcept { return socket_.get(); }
  [[nodiscard]] clock::time_point deadline() const noexcept { return deadline_; }

  /// Takes what arrived, and maps when all is there.
  ///
  /// @returns nothing while more is to come; else the memory, or `transport_failed` for a peer that
  /// is not the
  ///          one of the manifest, sends nonsense, or is too late.
  [[nodiscard]] std::optional<expected<std::unique_ptr<peer_memory>>> advance();

private:
  peer_import() = default;
  [[nodiscard]] expected<bool> receive();
  [[nodiscard]] expected<std::unique_ptr<peer_memory>> map() const;

  plane_manifest manifest_;
  std::vector<pool_layout> pools_;
  clock::time_point deadline_;
  unique_fd socket_;
  std::vector<unique_fd> descriptors_;
};

} // namespace baton
