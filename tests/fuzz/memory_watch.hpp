#pragma once

#include <cstddef>

namespace baton::fuzz {

/// Tells how much memory this program allocates while the watch lives: at its highest, on top of
/// what it had before. One at a time.
class memory_watch {
public:
  memory_watch() noexcept;

  [[nodiscard]] std::size_t peak() const noexcept;

private:
  std::ptrdiff_t before_;
};

} // namespace baton::fuzz
