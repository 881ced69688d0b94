#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/wire.hpp"
#include "transport/base/life_lock.hpp"
#include "transport/base/memory_file.hpp"

namespace baton {

/// The first cache line of a lease table; a `life_word` follows, then the leases. Part of the
/// format between processes.
struct alignas(64) lease_header {
  static constexpr std::uint64_t table_magic = 0x6c61'736e'6f74'6162; // "batonsal"
  static constexpr std::uint64_t table_version = 2;

  std::uint64_t magic = table_magic;
  std::uint64_t version = table_version;
  std::uint64_t slots = 0;
  std::uint64_t life = 0;
};

/// One lease: odd = granted, even = free. A cache line each, so that readers of one do not slow
/// down others.
struct alignas(64) lease_word {
  std::atomic<std::uint64_t> word{0};
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(sizeof(lease_header) == 64 && sizeof(lease_word) == 64);

/// The leases that a rank gives, in memory that peers can map read-only. Thread-safe.
class lease_table {
public:
  /// @returns `out_of_resources` when the kernel refuses, `invalid_argument` for 0 or more than
  /// 2^24 slots.
  [[nodiscard]] static expected<lease_table> create(incarnation life, std::size_t slots);

  lease_table(lease_table&& other) noexcept;
  /// Takes all leases back: a rank that is gone grants nothing.
  ~lease_table();

  /// Grants a lease. A slot that is granted again has another epoch.
  ///
  /// @returns `out_of_resources` when all slots are granted.
  [[nodiscard]] expected<lease> grant();

  /// Takes a lease back. When it returns, every later `granted` of any process says no.
  /// A lease that is not granted any more is left alone, whoever holds its slot now.
  ///
  /// @returns whether this call took it back.
  bool revoke(const lease& right) noexcept;

  /// Takes all leases back.
  void revoke_all() noexcept;

  /// Whether the lease is granted now.
  [[nodiscard]] bool granted(const lease& right) const noexcept;

  /// How many are granted now.
  [[nodiscard]] std::size_t granted() const noexcept;

  /// The descriptor to be passed to peers. Stays with the table.
  [[nodiscard]] int descriptor() const noexcept { return file_.descriptor.get(); }

private:
  lease_table(memory_file file, life_lock alive, incarnation life, std::size_t slots);

  memory_file file_;
  life_lock alive_; ///< of a word in the file
  incarnation life_;
  std::vector<std::uint32_t> free_; ///< guarded by `mutex_`
  std::size_t slots_ = 0;
  lease_word* words_ = nullptr;
  mutable std::mutex mutex_;
};

/// A peer's lease table, mapped read-only. Thread-safe.
class lease_view {
public:
  /// Maps a peer's table after checking its seals, size and header.
  ///
  /// @returns `transport_failed` for anything that is not the table of `life`.
  [[nodiscard]] static expected<lease_view> map(int descriptor, incarnation life);

  /// Whether the lease is granted at this moment. Data that were read before the call are good if
  /// it is: they were read before any rewriting that the owner submitted after its revocation.
  [[nodiscard]] bool granted(const lease& right) const noexcept;

  /// Whether the table's owner, rank and process, is alive at this moment; see `is_alive`.
  [[nodiscard]] bool owner_alive() const noexcept;

private:
  lease_view(mapping memory, incarnation life, std::size_t slots)
      : memory_{std::move(memory)}, life_{life}, slots_{slots} {}

  mapping memory_;
  incarnation life_;
  std::size_t slots_ = 0;
};

} // namespace baton
