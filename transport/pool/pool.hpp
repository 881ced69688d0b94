#pragma once

#include <cstddef>
#include <span>

#include "messages/error.hpp"

namespace baton {

/// Host memory of one pool: an own memfd, or a range that the engine owns. Move-only.
///
/// An own pool is sealed with SHRINK, GROW and FUTURE_WRITE, so that a peer can map it read-only
/// and never loses a page under its feet. Pages are touched (zero) at creation. An engine's range
/// cannot be mapped by peers and gets the ucx lane.
class host_pool {
public:
  /// Allocates `bytes` (rounded up to whole pages), from huge pages if the machine has free ones.
  ///
  /// @returns `invalid_argument` for 0 bytes, `out_of_resources` for more than the machine or our
  ///          cgroup has left, or when the kernel refuses.
  [[nodiscard]] static expected<host_pool> create(std::size_t bytes);

  /// Registers memory of the engine. It must stay valid for as long as the pool.
  [[nodiscard]] static expected<host_pool> adopt(void* data, std::size_t bytes);

  host_pool(host_pool&& other) noexcept;
  host_pool& operator=(host_pool&& other) noexcept;
  ~host_pool();

  [[nodiscard]] std::span<std::byte> memory() const noexcept { return {data_, bytes_}; }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  /// Bytes as asked for.
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }
  /// The descriptor to be passed to peers; -1 for adopted memory. Stays with the pool.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

private:
  host_pool() = default;

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t mapped_ = 0; ///< 0 for adopted memory
  int descriptor_ = -1;
};

} // namespace baton
