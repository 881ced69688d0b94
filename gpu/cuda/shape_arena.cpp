#include "gpu/cuda/shape_arena.hpp"

#include <algorithm>

namespace baton {

expected<shape_arena::piece> shape_arena::take(std::size_t bytes) {
  bytes = (bytes + alignment - 1) / alignment * alignment;
  const std::lock_guard lock{mutex_};
  place at = find(bytes);
  if (at == free_.end()) {
    auto slab = device_buffer::create(device_, std::max(bytes, slab_bytes));
    if (!slab)
      return fail(slab.error());
    at = free_.emplace(slab->data(), slab->size()).first;
    slabs_.push_back(std::move(*slab));
  }
  std::byte* const start = at->first;
  const std::size_t left = at->second - bytes;
  free_.erase(at);
  if (left > 0)
    free_.emplace(start + bytes, left);
  return piece{shared_from_this(), start, bytes};
}

shape_arena::place shape_arena::find(std::size_t bytes) {
  return std::ranges::find_if(free_, [&](const auto& range) { return range.second >= bytes; });
}

void shape_arena::give_back(std::byte* data, std::size_t bytes) {
  const std::lock_guard lock{mutex_};
  const auto is_start = [&](std::byte* address) {
    return std::ranges::any_of(slabs_,
                               [&](const device_buffer& slab) { return slab.data() == address; });
  };
  place at = free_.emplace(data, bytes).first;
  // Two slabs may lie side by side; a piece must not reach from one into the other.
  if (const auto next = std::next(at);
      next != free_.end() && at->first + at->second == next->first && !is_start(next->first)) {
    at->second += next->second;
    free_.erase(next);
  }
  if (at == free_.begin() || is_start(at->first))
    return;
  if (const auto before = std::prev(at); before->first + before->second == at->first) {
    before->second += at->second;
    free_.erase(at);
  }
}

} // namespace baton
