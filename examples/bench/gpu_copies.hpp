#pragma once

#include <cstddef>
#include <vector>

#include "gpu/event.hpp"
#include "gpu/ipc.hpp"
#include "gpu/memory.hpp"
#include "gpu/stream.hpp"

namespace baton::bench {

/// What pulls are compared with: copies by the copy engines from plain memory of a peer process,
/// mapped through CUDA IPC, into own plain memory. All return microseconds from the call to the
/// completion that the caller sees.
class gpu_copies {
public:
  gpu_copies(int device, const ipc_range& peer);

  [[nodiscard]] std::size_t size() const noexcept { return peer_.size(); }
  /// One copy.
  [[nodiscard]] double contiguous(std::size_t bytes);
  /// `count` fragments at random slots on both sides, one `cudaMemcpyAsync` each.
  [[nodiscard]] double each(std::size_t fragment, std::size_t count);
  /// The same by one `cudaMemcpyBatchAsync`.
  [[nodiscard]] double batch(std::size_t fragment, std::size_t count);

private:
  /// The addresses of fragments.
  struct scattered {
    std::vector<void*> to;
    std::vector<const void*> from;
    std::vector<std::size_t> bytes;
  };

  [[nodiscard]] const scattered& fragments(std::size_t fragment, std::size_t count);
  template <class Issue>
  [[nodiscard]] double timed(Issue issue);

  int device_;
  ipc_mapping peer_;
  device_buffer own_;
  gpu_stream stream_;
  gpu_event done_;
  scattered list_; ///< the latest that was asked for
};

} // namespace baton::bench
