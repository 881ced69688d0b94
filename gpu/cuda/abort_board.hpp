#pragma once

#include <cstdint>

#include "gpu/memory.hpp"
#include "gpu/stream.hpp"

namespace baton {

/// Words by which the kernels of a GPU are told to stop. A kernel looks at one of them, and stops
/// when that holds the number of its own launch; so no word has ever to be cleared. They lie in the
/// GPU's own memory, where looking costs nothing. Belongs to one thread; the GPU's context is
/// current in all calls.
class abort_board {
public:
  [[nodiscard]] static expected<abort_board> create(int device, std::uint32_t words);

  /// Where kernels look.
  [[nodiscard]] const std::uint64_t* word(std::uint32_t index) const noexcept;

  /// Writes a launch's number into a word, some microseconds from now: on a stream of its own, that
  /// waits behind no kernel and behind no copy.
  void raise(std::uint32_t index, std::uint64_t launch) noexcept;

private:
  abort_board() = default;

  gpu_stream stream_;
  device_buffer words_;
  pinned_buffer source_; ///< of copies, where the GPU cannot write a word by itself
  bool can_write_ = false;
};

} // namespace baton
