#include "messages/ids.hpp"

#include <sys/random.h>

#include <random>

namespace baton {

std::uint64_t random_number() noexcept {
  std::uint64_t number = 0;
  while (number == 0)
    if (getrandom(&number, sizeof number, 0) != sizeof number)
      number = std::random_device{}();
  return number;
}

} // namespace baton
