#pragma once

#include <cstddef>

namespace baton::test {

/// Returns how many bytes the program has from `operator new` now, as the allocator rounds them.
/// Whoever links this counts them all.
[[nodiscard]] std::size_t live_bytes() noexcept;

} // namespace baton::test
