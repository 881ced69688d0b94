#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "messages/layout.hpp"
#include "transport/lease/lease_table.hpp"
#include "transport/seam/data_plane.hpp"
#include "transport/session/retired_keys.hpp"

namespace baton {

/// What was granted under a lease.
struct grant_record {
  lease right;
  session_key session;
  grant_spec spec;
  /// Set once a pull over the ucx lane uses the lease, so that its end has to be told to the data
  /// thread. See `grant_book::serve`.
  mutable std::atomic<bool> served{false};
  /// How many of them there are now. Belongs to the data thread.
  mutable std::uint32_t serves = 0;

  grant_record(lease granted, session_key owner, grant_spec what)
      : right{granted}, session{owner}, spec{std::move(what)} {}
};

/// The leases of this rank: which session gave what to whom. Thread-safe.
class grant_book {
public:
  /// @param layout of this rank.
  grant_book(lease_table table, const rank_layout& layout);

  /// @returns `out_of_resources`, `invalid_argument` for a group or a block that this rank does not
  /// have, `cancelled` for a session that has retired.
  [[nodiscard]] expected<lease> grant(session_key session, grant_spec spec);

  /// Takes a lease back.
  ///
  /// @returns its record, or null if it was not granted any more.
  std::shared_ptr<const grant_record> revoke(const lease& right);

  /// Takes all leases of a session back, for good: it gets no more.
  ///
  /// @returns their records.
  std::vector<std::shared_ptr<const grant_record>> retire(session_key session);

  /// Takes all leases back, before the rank goes away. Their records stay.
  void close() noexcept { table_.revoke_all(); }

  /// Marks a lease as served over the ucx lane.
  ///
  /// @returns whether it is still granted. Then whoever takes it back finds the mark.
  [[nodiscard]] bool serve(const grant_record& record) const noexcept;

  /// Returns the record of a granted lease, or null.
  [[nodiscard]] std::shared_ptr<const grant_record> find(const lease& right) const;

  [[nodiscard]] const lease_table& table() const noexcept { return table_; }

private:
  using record = std::shared_ptr<const grant_record>;

  [[nodiscard]] expected<> check(const grant_spec& spec) const;
  [[nodiscard]] record revoke_locked(const lease& right);

  lease_table table_;
  std::unordered_map<std::string, std::uint64_t> slots_; ///< of each group
  mutable std::mutex mutex_;
  std::unordered_map<std::uint32_t, record> records_;                           ///< by lease slot
  std::unordered_map<session_key, std::unordered_set<std::uint32_t>> sessions_; ///< lease slots
  retired_keys retired_;
};

} // namespace baton
