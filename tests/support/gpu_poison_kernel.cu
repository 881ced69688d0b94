#include "tests/support/gpu_poison_kernel.hpp"

namespace baton::test {
namespace {

__device__ unsigned long long now() {
  unsigned long long nanoseconds = 0;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(nanoseconds));
  return nanoseconds;
}

__global__ void poison(volatile int* address, unsigned long long nanoseconds) {
  const unsigned long long begin = now();
  while (now() - begin < nanoseconds)
    __nanosleep(10'000);
  if (address == nullptr)
    __trap();
  *address = 1;
}

} // namespace

cudaError_t launch_poison_kernel(int* address, unsigned long long nanoseconds,
                                 cudaStream_t stream) {
  poison<<<1, 1, 0, stream>>>(address, nanoseconds);
  return cudaGetLastError();
}

} // namespace baton::test
