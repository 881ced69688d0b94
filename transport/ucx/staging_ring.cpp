#include "transport/ucx/staging_ring.hpp"

#include <chrono>
#include <cstring>

namespace baton {

namespace {

/// For a copy of one slot.
constexpr std::chrono::seconds fill_limit{10};

} // namespace

expected<staging_ring> staging_ring::create(std::size_t slots, std::size_t slot_bytes,
                                            staging_kind kind, int device) {
  const auto bytes = slots * slot_bytes;
  if (kind == staging_kind::host)
    return over(map_private(bytes), slots, slot_bytes);
  if (kind == staging_kind::pinned)
    return over(pinned_buffer::create(device, bytes), slots, slot_bytes);
  auto fills = gpu_stream::create(device);
  if (!fills)
    return fail(std::move(fills.error()));
  auto made = over(device_buffer::create(device, bytes), slots, slot_bytes);
  if (made)
    made->fills_ = std::move(*fills);
  return made;
}

template <class Memory>
expected<staging_ring> staging_ring::over(expected<Memory> memory, std::size_t slots,
                                          std::size_t slot_bytes) {
  if (!memory)
    return fail(std::move(memory.error()));
  auto* const data = memory->data();
  return staging_ring{std::move(*memory), data, slots, slot_bytes};
}

staging_ring::staging_ring(held_memory memory, std::byte* data, std::size_t slots,
                           std::size_t slot_bytes)
    : memory_{std::move(memory)}, data_{data}, slots_{slots}, slot_bytes_{slot_bytes} {
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

void staging_ring::leak() noexcept {
  if (auto* const pinned = std::get_if<pinned_buffer>(&memory_))
    pinned->leak();
  if (auto* const device = std::get_if<device_buffer>(&memory_))
    device->leak();
}

expected<> staging_ring::slot::fill(std::span<const std::byte> from) {
  if (!std::holds_alternative<device_buffer>(ring_->memory_)) {
    std::memcpy(data(), from.data(), from.size());
    return {};
  }
  const auto stream = ring_->fills_.ref();
  auto done = copy_async(data(), from.data(), from.size(), stream);
  if (done)
    done = finish(stream, fill_limit);
  if (!done)
    ring_ = nullptr;
  return done;
}

} // namespace baton
