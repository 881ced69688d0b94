#include "tests/fuzz/memory_watch.hpp"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BATON_UNDER_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define BATON_UNDER_ASAN
#endif

#ifdef BATON_UNDER_ASAN
// GCC has them, but not the header.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*,
                                                                           std::size_t),
                                                         void (*on_free)(const volatile void*));
extern "C" std::size_t __sanitizer_get_allocated_size(const volatile void* memory);
#endif

namespace {

std::atomic<std::ptrdiff_t> live{0};
std::atomic<std::ptrdiff_t> highest{0};

void taken(std::size_t bytes) noexcept {
  const auto now = live += static_cast<std::ptrdiff_t>(bytes);
  if (now > highest)
    highest = now;
}

void given_back(std::size_t bytes) noexcept {
  live -= static_cast<std::ptrdiff_t>(bytes);
}

#ifdef BATON_UNDER_ASAN
// Its own operators find more than ours would.
const bool watching = [] {
  const auto on_take = [](const volatile void*, std::size_t bytes) { taken(bytes); };
  const auto on_return = [](const volatile void* memory) {
    if (memory != nullptr)
      given_back(__sanitizer_get_allocated_size(memory));
  };
  return __sanitizer_install_malloc_and_free_hooks(on_take, on_return) != 0;
}();
#endif

} // namespace

#ifndef BATON_UNDER_ASAN
// All other forms without an alignment come to these two.
void* operator new(std::size_t bytes) {
  void* const memory = std::malloc(std::max<std::size_t>(bytes, 1));
  if (memory == nullptr)
    throw std::bad_alloc{};
  taken(malloc_usable_size(memory));
  return memory;
}

void operator delete(void* memory) noexcept {
  given_back(malloc_usable_size(memory));
  std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
  operator delete(memory);
}
#endif

namespace baton::fuzz {

memory_watch::memory_watch() noexcept : before_{live} {
  highest = before_;
}

std::size_t memory_watch::peak() const noexcept {
  return static_cast<std::size_t>(std::max<std::ptrdiff_t>(highest - before_, 0));
}

} // namespace baton::fuzz
