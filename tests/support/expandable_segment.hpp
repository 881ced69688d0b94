#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "messages/error.hpp"

namespace baton::test {

/// Several allocations of the virtual memory calls in one range of addresses, as engines make them
/// to let a pool grow. Move-only.
class expandable_segment {
public:
  /// @param pieces bytes of each allocation, multiples of 2 MiB.
  /// @returns `gpu_failed` without CUDA.
  [[nodiscard]] static expected<expandable_segment> create(int device,
                                                           std::vector<std::size_t> pieces);

  expandable_segment(expandable_segment&& other) noexcept
      : data_{std::exchange(other.data_, nullptr)},
        bytes_{other.bytes_},
        mapped_{std::move(other.mapped_)} {}
  expandable_segment& operator=(expandable_segment&&) = delete;
  ~expandable_segment();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }

private:
  expandable_segment() = default;

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::vector<std::size_t> mapped_;
};

} // namespace baton::test
