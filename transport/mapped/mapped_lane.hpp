#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "transport/base/copy_pool.hpp"
#include "transport/peer/peer_memory.hpp"
#include "transport/session/pull_task.hpp"

namespace baton {

/// Pulls from memory that is mapped here: copies, then looks whether the lease was granted all the
/// while. Thread-safe.
class mapped_lane {
public:
  /// Jobs of at most this many bytes are copied within the call of `pull`.
  static constexpr std::uint64_t inline_bytes = 64u << 10;

  /// @param copies, ledger must outlive the lane, and the lane its pulls.
  /// @param pools starts of the destination's pools.
  mapped_lane(copy_pool& copies, session_ledger& ledger, std::vector<std::byte*> pools);

  void pull(pull_order order, std::shared_ptr<const peer_memory> source);

private:
  copy_pool& copies_;
  session_ledger& ledger_;
  std::vector<std::byte*> pools_;
};

} // namespace baton
