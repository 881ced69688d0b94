#pragma once

#include <cstddef>
#include <cstdint>

#include "messages/conversion.hpp"
#include "transport/base/copy.hpp"

namespace baton {

/// `racing_copy` of elements that are converted on their way. All that may race is read by
/// `racing_copy`. Neither side needs any alignment.
///
/// @param bytes to be read: whole elements.
/// @param as one that is needed.
void racing_convert(std::byte* to, const std::byte* from, std::uint64_t bytes,
                    const element_conversion& as, copy_mode mode) noexcept;

} // namespace baton
