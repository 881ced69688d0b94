#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gpu/copy_shape.hpp"
#include "gpu/event.hpp"
#include "gpu/memory.hpp"
#include "gpu/stream.hpp"

namespace baton {

/// Brings pairs of slots into a GPU's memory while earlier kernels run, and holds them there for
/// the kernels to come. Belongs to one thread; the GPU's context is current in all calls.
class pair_ring {
public:
  /// A place in the endless row of pairs that ever went through.
  using mark = std::uint64_t;

  /// @param places how many uploads may be waited for at a time.
  [[nodiscard]] static expected<pair_ring> create(int device, std::uint32_t pairs,
                                                  std::uint32_t places);

  pair_ring() = default;

  /// How many pairs the next `send` can take now, at most `wanted`.
  [[nodiscard]] std::uint64_t room(std::uint64_t wanted) const noexcept;

  /// Starts an upload, and makes a stream wait for it.
  ///
  /// @param parts no more than `room` returned, all together.
  /// @param place one whose last upload has been waited for.
  /// @returns where the first pair lies for kernels; the others follow it in a row.
  [[nodiscard]] expected<const copy_pair*> send(std::span<const std::span<const copy_pair>> parts,
                                                gpu_stream_ref reader, std::uint32_t place);

  /// What was sent so far ends here.
  [[nodiscard]] mark end() const noexcept { return taken_; }
  /// Gives back all before the mark: no kernel reads it any more. Marks come in their order.
  void free(mark until) noexcept { freed_ = until; }

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

private:
  [[nodiscard]] mark start_of(std::uint64_t count) const noexcept;

  std::uint64_t size_ = 0; ///< pairs
  pinned_buffer host_;
  device_buffer device_;
  gpu_stream uploads_;
  std::vector<gpu_event> uploaded_; ///< of each place
  mark taken_ = 0;
  mark freed_ = 0;
};

} // namespace baton
