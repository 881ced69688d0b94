#include "transport/staging_ring.hpp"

namespace baton {

expected<staging_ring> staging_ring::create(std::size_t slots, std::size_t slot_bytes) {
  auto memory = map_private(slots * slot_bytes);
  if (!memory)
    return fail(std::move(memory.error()));
  return staging_ring{std::move(*memory), slots, slot_bytes};
}

staging_ring::staging_ring(mapping memory, std::size_t slots, std::size_t slot_bytes)
    : memory_{std::move(memory)}, slots_{slots}, slot_bytes_{slot_bytes} {
  for (std::size_t number = slots; number-- > 0;)
    free_.push_back(number);
}

staging_ring::slot staging_ring::take() noexcept {
  if (free_.empty())
    return {};
  const auto number = free_.back();
  free_.pop_back();
  return {*this, number};
}

} // namespace baton
