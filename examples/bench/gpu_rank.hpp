#pragma once

#include <memory>
#include <optional>

#include "examples/bench/gpu_cache.hpp"
#include "examples/bench/gpu_copies.hpp"
#include "examples/bench/gpu_load.hpp"
#include "examples/bench/gpu_pulls.hpp"
#include "examples/bench/rank_server.hpp"

namespace baton::bench {

/// Returns what a `gpu_rank` is started with.
[[nodiscard]] nlohmann::json gpu_start(instance_role role, int device);

/// A rank without actors whose pools lie on a GPU. It takes one cache and data plane after the
/// other, and keeps its memory meanwhile.
///
/// | verb | arguments | answer |
/// |---|---|---|
/// | set_up | `cache` (`gpu_setup`), `options` of the plane | |
/// | describe | | `layout`, `manifest` |
/// | introduce | the other rank's `describe` | `lane`, `reason` |
/// | grant | | `slot`, `epoch` of a lease per request |
/// | accept | the other rank's `grant` | |
/// | pull | | `us`, `bytes`, `fragments` of all requests at once |
/// | prepare | | writes the pools anew |
/// | check | | number of wrong bytes |
/// | lend | bytes | `handle`, `offset`, `bytes` of plain memory for copies |
/// | borrow | the other rank's `lend` | |
/// | copy | `how` (contiguous, each, batch), `fragment`, `count` | microseconds |
/// | load | `kind` of `gpu_load`, `samples` | microseconds of each |
/// | keep_pulling | | |
/// | stop_pulling | | `us`, `bytes`, `fragments` |
class gpu_rank final : public rank {
public:
  explicit gpu_rank(const nlohmann::json& start);

  [[nodiscard]] nlohmann::json answer(const std::string& verb,
                                      const nlohmann::json& arguments) override;

private:
  void set_up(const nlohmann::json& arguments);
  [[nodiscard]] nlohmann::json introduce(const nlohmann::json& other);
  [[nodiscard]] nlohmann::json grant() const;
  void accept(const nlohmann::json& granted);
  [[nodiscard]] nlohmann::json lend(std::size_t bytes);
  void borrow(const nlohmann::json& lent);
  [[nodiscard]] double copy(const nlohmann::json& arguments);
  [[nodiscard]] nlohmann::json load(const nlohmann::json& arguments);
  void keep_pulling();
  [[nodiscard]] nlohmann::json stop_pulling();

  instance_role role_;
  gpu_arena memory_;
  std::unique_ptr<gpu_cache> cache_;
  std::shared_ptr<rank_plane> plane_;
  incarnation peer_;
  std::optional<gpu_pulls> pulls_;
  std::unique_ptr<pull_loop> loop_;
  std::optional<device_buffer> lent_;
  std::optional<gpu_copies> copies_;
  std::unique_ptr<gpu_load> load_;
};

} // namespace baton::bench
