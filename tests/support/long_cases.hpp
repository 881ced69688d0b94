#pragma once

#include <cstddef>
#include <cstdlib>

namespace baton::test {

/// Leaves most of the cases of a large table to `tests/run --long`, which sets BATON_LONG: runs the
/// first of every `share`, in the order in which they ask. Take a share that has no factor in
/// common with the table's rows, so that all values get their turn.
class long_cases {
public:
  explicit long_cases(std::size_t share) noexcept : share_{share} {}

  [[nodiscard]] bool left_out() noexcept {
    return asked_++ % share_ != 0 && std::getenv("BATON_LONG") == nullptr;
  }

private:
  std::size_t share_;
  std::size_t asked_ = 0;
};

} // namespace baton::test
