#pragma once

#include "messages/layout.hpp"

namespace baton::handoff {

/// The contract sees the bytes of a `conv` buffer as the elements of one head; its layout has them
/// as heads, since that is the axis that is sharded. The bytes are packed.
///
/// @returns the buffer in the contract's terms; buffers of other roles as they are.
[[nodiscard]] inline buffer_layout with_bytes_as_dims(buffer_layout buffer) {
  if (buffer.role != cache_role::conv)
    return buffer;
  buffer.head_dim = buffer.head_count;
  buffer.first_head = 0;
  buffer.head_count = buffer.total_heads = 1;
  buffer.head_stride = buffer.token_stride = buffer.row_bytes();
  return buffer;
}

/// Returns the number of the first element of each head that a buffer holds.
[[nodiscard]] inline std::uint32_t first_dim_of(const buffer_layout& buffer) noexcept {
  return buffer.role == cache_role::conv ? buffer.first_head : 0;
}

} // namespace baton::handoff
