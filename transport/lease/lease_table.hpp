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

/// What orders memory, so that it does what tests/model/*.pml take for granted (SPIN knows only
/// sequentially consistent memory). tests/lease_test.cpp tries 1 on threads.
///
/// 1. Revoked before rewritten, validated after the last read.
///
///        owner:  word becomes even; fence; blocks are rewritten
///        reader: blocks are read; fence; word is read
///
///    Both fences are seq_cst, hence one comes first. If a read saw a rewritten byte it is the
///    owner's, and the reader finds the word even. This holds whatever threads lie between, since
///    all that counts is what happens before or after a fence: a job is copied by several threads
///    and validated by one, and the engine rewrites on a thread of its own. Acquire and release
///    fences promise that for one thread at each end only.
///    On x86 stores stay in order, and so do loads; streaming stores go to destinations, which are
///    not looked at before `end_streaming`. Armv8 keeps neither order without the barriers of the
///    fences (dmb ish), which is why the compare-exchange of a revocation is not enough: later
///    stores may overtake its own (ldaxr, stlxr). Stores are seen by all cores at once there, so
///    that barriers of different threads add up.
///    To the language the bytes are a data race. They are copied out of line (`racing_copy`), and
///    compilers move no access to memory across a fence.
///    A GPU's reads are over when its event is complete, which the host sees before its fence. They
///    are of system scope or bulk copies, never by the non-coherent path, and each job is a launch
///    of its own, to which caches keep nothing of an earlier one. An owner's kernels are launched
///    after its fence: that what the host wrote before a launch is visible before the kernel begins
///    is CUDA's promise. (On Arm it rests on the driver's own barrier before it wakes the device,
///    for dmb ish speaks of cores only.)
/// 2. Granted after filled. Whoever grants knows that the work is done, from the engine's call or
///    from the GPU's event; the reader knows the epoch from a message that was sent after the
///    grant. Both are ordered by the queues and sockets in between, and need no fence of ours.
/// 3. Used anew. Epochs never come twice, so that a late revocation does nothing. Of two at once
///    one loses; it has seen what the other wrote before its own fence, and may rewrite as well.
/// 4. Marked, then looked at (`grant_book::serve`) against taken back, then asked for the mark: at
///    least one side sees the other's word. This is the order that x86 does not keep either
///    without the fence of `granted`.
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

  /// Whether the lease is granted now. If so, whoever takes it back later sees all that was written
  /// before this call.
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
