#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "gpu/memory.hpp"
#include "gpu/stream.hpp"
#include "messages/error.hpp"
#include "transport/base/memory_file.hpp"

namespace baton {

/// What staging memory is made of.
enum class staging_kind : std::uint8_t {
  host,
  pinned, ///< page-locked host memory, which kernels can use as well
  gpu,    ///< plain memory of a GPU
};

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
    /// An address of the ring's kind of memory.
    [[nodiscard]] std::byte* data() const noexcept {
      return ring_->data_ + number_ * ring_->slot_bytes_;
    }
    /// Writes host memory into the start of the slot, and returns when it is there.
    ///
    /// @returns `gpu_failed`, or `timed_out` for a GPU that hangs. The slot is then empty, and lost
    ///          to the ring, since the bytes may still arrive.
    [[nodiscard]] expected<> fill(std::span<const std::byte> from);
    explicit operator bool() const noexcept { return ring_ != nullptr; }

  private:
    friend class staging_ring;
    slot(staging_ring& ring, std::size_t number) noexcept : ring_{&ring}, number_{number} {}

    staging_ring* ring_ = nullptr;
    std::size_t number_ = 0;
  };

  /// @param device ordinal of the GPU that uses the memory, unless it is `host`.
  /// @returns `out_of_resources` when there is no memory, `gpu_failed`.
  [[nodiscard]] static expected<staging_ring> create(std::size_t slots, std::size_t slot_bytes,
                                                     staging_kind kind = staging_kind::host,
                                                     int device = 0);

  staging_ring(staging_ring&&) = default; ///< only while no slot is taken

  /// Returns the slot given back last, since its lines are still in the caches; empty if none is
  /// free.
  [[nodiscard]] slot take() noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return slots_; }
  /// Slots that one peer may hold, so that one that hangs does not stop the others.
  [[nodiscard]] std::size_t most_for_one() const noexcept {
    return std::max<std::size_t>(slots_ / 2, 1);
  }
  [[nodiscard]] std::size_t available() const noexcept { return free_.size(); }

  /// Gives up memory that a hung kernel may still use.
  void leak() noexcept;

private:
  using held_memory = std::variant<mapping, pinned_buffer, device_buffer>;

  staging_ring(held_memory memory, std::byte* data, std::size_t slots, std::size_t slot_bytes);
  template <class Memory>
  [[nodiscard]] static expected<staging_ring> over(expected<Memory> memory, std::size_t slots,
                                                   std::size_t slot_bytes);

  held_memory memory_;
  gpu_stream fills_; ///< of memory that the host cannot write
  std::byte* data_ = nullptr;
  std::size_t slots_ = 0;
  std::size_t slot_bytes_ = 0;
  std::vector<std::size_t> free_;
};

} // namespace baton
