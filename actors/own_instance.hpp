#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "messages/wire.hpp"

namespace baton {

/// The instance that a rank belongs to. It is kept encoded: the layouts of the other ranks are
/// needed only when a new instance of the other side is met. Immutable.
class own_instance {
public:
  /// @param instance  valid, and complete.
  own_instance(const instance_info& instance, std::uint32_t rank);

  [[nodiscard]] std::uint32_t rank() const noexcept { return self_.layout.rank; }
  [[nodiscard]] const rank_layout& layout() const noexcept { return self_.layout; }
  [[nodiscard]] std::uint64_t digest() const noexcept { return digest_; }
  /// The instance as introductions and directories say it.
  [[nodiscard]] const std::string& encoded() const noexcept { return encoded_; }
  /// Returns the layouts of all ranks.
  [[nodiscard]] std::vector<rank_layout> layouts() const;
  /// Returns those of this rank's dp group.
  [[nodiscard]] std::vector<rank_layout> group_layouts() const;

  /// What this rank says of itself to another.
  /// @param manifest  of its data plane.
  [[nodiscard]] introduction introduce(const std::string& manifest, std::string version) const;

private:
  rank_info self_;
  std::uint64_t digest_;
  std::string encoded_;
};

/// Takes the layouts out of what is known of some ranks.
[[nodiscard]] std::vector<rank_layout> layouts_of(std::vector<rank_info> ranks);

using own_instance_ptr = std::shared_ptr<const own_instance>;

} // namespace baton
