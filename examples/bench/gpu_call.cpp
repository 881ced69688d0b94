#include "examples/bench/gpu_call.hpp"

#include "examples/support/value_of.hpp"

namespace baton::bench {

void spin_until(const gpu_event& event) {
  const auto deadline = std::chrono::steady_clock::now() + gpu_limit;
  while (!examples::value_of(is_complete(event.ref())))
    if (std::chrono::steady_clock::now() > deadline)
      throw std::runtime_error{"the GPU does not end its work in time"};
}

} // namespace baton::bench
