#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "messages/error.hpp"
#include "transport/memory_file.hpp"

namespace baton {

/// Slots of memory through which chunks pass on their way to or from the network. Belongs to one
/// thread.
class staging_ring {
public:
  /// One slot, given back on destruction. Must not outlive its ring. Empty after a move.
  class slot {
  public:
    slot() = default;
    slot(slot&& other) noexcept
        : ring_{std::exchange(other.ring_, nullptr)}, number_{other.number_} {}
    slot& operator=(slot other) noexcept {
      std::swap(ring_, other.ring_);
      std::swap(number_, other.number_);
      return *this;
    }
    ~slot() {
      if (ring_ != nullptr)
        ring_->free_.push_back(number_);
    }
    [[nodiscard]] std::byte* data() const noexcept {
      return ring_->memory_.data() + number_ * ring_->slot_bytes_;
    }
    explicit operator bool() const noexcept { return ring_ != nullptr; }

  private:
    friend class staging_ring;
    slot(staging_ring& ring, std::size_t number) noexcept : ring_{&ring}, number_{number} {}

    staging_ring* ring_ = nullptr;
    std::size_t number_ = 0;
  };

  /// @returns `out_of_resources` when there is no memory.
  [[nodiscard]] static expected<staging_ring> create(std::size_t slots, std::size_t slot_bytes);

  staging_ring(staging_ring&&) = default; ///< only while no slot is taken

  /// Returns the slot given back last, since its lines are still in the caches; empty if none is
  /// free.
  [[nodiscard]] slot take() noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return slots_; }
  [[nodiscard]] std::size_t available() const noexcept { return free_.size(); }

private:
  staging_ring(mapping memory, std::size_t slots, std::size_t slot_bytes);

  mapping memory_;
  std::size_t slots_ = 0;
  std::size_t slot_bytes_ = 0;
  std::vector<std::size_t> free_;
};

} // namespace baton
