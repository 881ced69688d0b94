#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace baton::soak {

/// Seeded random draws, the same on every machine. Not thread-safe.
class chance {
public:
  explicit chance(std::uint64_t seed) : random_{seed} {}

  /// @pre `bound` > 0.
  [[nodiscard]] std::uint32_t below(std::size_t bound) {
    return static_cast<std::uint32_t>(random_() % bound);
  }
  /// Both ends included.
  [[nodiscard]] std::uint32_t between(std::uint32_t least, std::uint32_t most) {
    return least + below(most - least + 1);
  }
  [[nodiscard]] std::chrono::milliseconds between(std::chrono::milliseconds least,
                                                  std::chrono::milliseconds most) {
    return least +
           std::chrono::milliseconds{below(static_cast<std::size_t>((most - least).count()) + 1)};
  }
  [[nodiscard]] bool one_in(std::size_t count) { return below(count) == 0; }
  /// @pre `all` is not empty.
  template <class T>
  [[nodiscard]] T of(const std::vector<T>& all) {
    return all[below(all.size())];
  }

private:
  std::mt19937_64 random_;
};

} // namespace baton::soak
