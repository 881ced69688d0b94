#pragma once

#include <memory>
#include <optional>

#include "examples/bench/cache.hpp"
#include "examples/bench/rank_server.hpp"
#include "transport/rank_plane.hpp"

namespace baton::bench {

/// Returns what a `plane_rank` is started with.
[[nodiscard]] nlohmann::json plane_start(instance_role role, const cache_setup& setup,
                                         const plane_options& options);

/// A rank without actors: its data plane is driven directly.
///
/// | verb | arguments | answer |
/// |---|---|---|
/// | describe | | `layout`, `manifest` |
/// | introduce | the other rank's `describe` | `lane`, `reason` |
/// | grant | | `slot`, `epoch` of a lease on the only request |
/// | pull | the other rank's `grant` | `us`, `fragments` |
/// | copy | | microseconds of a plain copy of as many bytes into the same pool |
/// | check | | number of wrong bytes |
class plane_rank final : public rank {
public:
  explicit plane_rank(const nlohmann::json& start);

  [[nodiscard]] nlohmann::json answer(const std::string& verb,
                                      const nlohmann::json& arguments) override;

private:
  [[nodiscard]] nlohmann::json introduce(const nlohmann::json& other);
  [[nodiscard]] nlohmann::json grant() const;
  [[nodiscard]] nlohmann::json pull(const nlohmann::json& granted) const;
  [[nodiscard]] double copy();

  rank_cache cache_;
  rank_cache context_cache_; ///< for the blocks of the context rank
  std::size_t copy_threads_;
  std::shared_ptr<rank_plane> plane_;
  std::optional<host_pool> contiguous_; ///< what plain copies read
  incarnation peer_;
};

} // namespace baton::bench
