#pragma once

#include <chrono>
#include <memory>

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>

#include "actors/config.hpp"
#include "actors/transceiver.hpp"
#include "examples/bench/cache.hpp"
#include "examples/bench/gpu_setup.hpp"
#include "examples/bench/rank_server.hpp"

namespace baton::bench {

/// Returns what an `actor_rank` is started with.
[[nodiscard]] nlohmann::json actor_start(instance_role role, const cache_setup& setup);
/// The same with pools on a GPU.
[[nodiscard]] nlohmann::json actor_start(instance_role role, const gpu_setup& setup, int device,
                                         const plane_options& options);

/// A whole rank, used through the blocking facade.
///
/// | verb | arguments | answer |
/// |---|---|---|
/// | describe | | `endpoint`, `echo_port` of an echo actor |
/// | offer | `first`, `count` of requests | |
/// | offered | | waits until all of them have ended well |
/// | compute | `request`, `chunks`, `by_layers`, `us` of computing each | when all was computed |
/// | receive | `first`, `count`, `endpoint` | microseconds of each |
/// | params | `first`, `count`, `ticket` | parameters of each, encoded |
/// | receive_by | `first`, `params` | `waited` and `total` microseconds of each |
/// | receive_together | `first`, `count`, `endpoint` | microseconds until all have ended |
/// | receive_until | `request`, `endpoint` | when it ended |
/// | ping | `port`, `count`, `bytes` | `blocking`, `events`: microseconds of each round trip |
/// | begin | `first`, `count` of request ids, `endpoint` | |
/// | cancel | `first`, `count`, `threads` | seconds until all blocks are safe |
/// | counts | | `early`, `sessions`, `live` |
/// | footprint | | `resident`, `heap` in bytes |
/// | rest | milliseconds | share of a core that the process used meanwhile |
/// | check | | number of wrong bytes |
///
/// Points in time are microseconds on the steady clock, which all processes of a machine share.
class actor_rank final : public rank {
public:
  explicit actor_rank(const nlohmann::json& start);
  ~actor_rank() override;

  [[nodiscard]] nlohmann::json answer(const std::string& verb,
                                      const nlohmann::json& arguments) override;

private:
  void offer(std::size_t request);
  void wait_for_offers();
  /// Offers a request in chunks, of tokens or of layers, each once it has been "computed".
  [[nodiscard]] double compute(std::size_t request, std::uint32_t chunks, bool by_layers,
                               std::chrono::microseconds each);
  [[nodiscard]] double receive(std::size_t request, const std::string& endpoint);
  /// The parameters of a request, with a ticket or without.
  [[nodiscard]] nlohmann::json params_of(std::size_t request, bool ticket);
  [[nodiscard]] nlohmann::json receive_by(std::size_t first, const nlohmann::json& params);
  [[nodiscard]] double receive_together(std::size_t first, std::size_t count,
                                        const std::string& endpoint);
  [[nodiscard]] nlohmann::json ping(const nlohmann::json& arguments);
  void begin(request_id request, const std::string& endpoint);
  [[nodiscard]] double cancel(std::uint64_t first, std::uint64_t count, std::size_t threads);
  [[nodiscard]] receive_request wanted(request_id id, std::size_t blocks_of,
                                       const std::string& endpoint) const;

  std::unique_ptr<bench_cache> cache_;
  std::shared_ptr<rank_plane> plane_;
  actor_config config_;
  caf::actor_system system_;
  transceiver transceiver_;
  caf::actor echo_;
  std::uint16_t echo_port_ = 0;
};

} // namespace baton::bench
