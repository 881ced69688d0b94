#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <caf/actor_system.hpp>

#include "actors/config.hpp"
#include "actors/transceiver.hpp"
#include "examples/tiny_llm/cache.hpp"
#include "transport/rank_plane.hpp"

namespace tiny_llm {

/// One rank's end of the hand-over: all that an engine needs to embed baton, in the order in which
/// one thing stands on the other.
///
/// Throws `std::runtime_error` with baton's text when something fails.
class handoff {
public:
  /// @param layout    of this rank; its `life` is set here.
  /// @param directory endpoint of the instance's rank 0; empty on rank 0 itself.
  handoff(baton::rank_layout layout, baton::lane_policy lanes, std::string directory);

  /// Where others reach this rank, host:port.
  [[nodiscard]] const std::string& endpoint() const noexcept { return transceiver_.endpoint(); }
  /// The memory of the cache's pool.
  [[nodiscard]] std::span<std::byte> memory() const noexcept { return plane_->pool(0).memory(); }

  /// Context side: offers the cache of the request's first `tokens` tokens, and the first token
  /// computed from it. Waits until every generation rank has read its part.
  baton::outcome give(baton::request_id request, std::uint32_t tokens, const paged_cache& cache,
                      std::int32_t first_token);

  /// Generation side: brings this rank's part of the cache in. @param context its rank 0's
  /// endpoint. The first token comes along in the outcome's `aux`.
  baton::outcome take(baton::request_id request, std::uint32_t tokens, const paged_cache& cache,
                      std::string context);

private:
  baton::rank_layout layout_;
  std::shared_ptr<baton::rank_plane> plane_;
  baton::actor_config config_;
  caf::actor_system system_;
  baton::transceiver transceiver_;
};

} // namespace tiny_llm
