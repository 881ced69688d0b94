#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "messages/ids.hpp"
#include "messages/layout.hpp"
#include "messages/wire.hpp"
#include "transport/pool/memory_pool.hpp"
#include "transport/rank_plane.hpp"

namespace baton::bench {

/// The cache of one rank: its layout under a new incarnation, which blocks each request has, and
/// what must stand in them. Not thread-safe.
class bench_cache {
public:
  virtual ~bench_cache() = default;

  [[nodiscard]] virtual const rank_layout& layout() const noexcept = 0;
  /// The id of the request at this position.
  [[nodiscard]] virtual request_id id_of(std::size_t request) const = 0;
  /// Of each request.
  [[nodiscard]] virtual token_range tokens() const noexcept = 0;
  [[nodiscard]] virtual const std::vector<group_blocks>& blocks_of(std::size_t request) const = 0;

  /// The cache must outlive them.
  [[nodiscard]] virtual std::vector<memory_pool> make_pools() const = 0;
  /// Context: writes what is to be handed over. Generation: writes what nothing may stay of.
  virtual void prepare(const rank_plane& plane) const = 0;
  /// Checks every byte of the pools, as they must be once all requests were handed over. A
  /// generation rank must be prepared anew after it.
  ///
  /// @returns how many are wrong.
  [[nodiscard]] virtual std::uint64_t wrong_bytes(const rank_plane& plane) const = 0;
};

/// Makes the cache that a rank is started with: in host memory, or on the GPU that is named.
[[nodiscard]] std::unique_ptr<bench_cache> make_cache(const nlohmann::json& start);

} // namespace baton::bench
