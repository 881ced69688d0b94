#include "tests/support/live_bytes.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

#include <malloc.h>

namespace {

std::atomic<std::size_t> live{0};

void* try_allocate(std::size_t bytes) noexcept {
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory != nullptr)
    live.fetch_add(malloc_usable_size(memory), std::memory_order_relaxed);
  return memory;
}

void* allocate(std::size_t bytes) {
  void* memory = try_allocate(bytes);
  if (memory == nullptr)
    throw std::bad_alloc{};
  return memory;
}

void release(void* memory) noexcept {
  live.fetch_sub(malloc_usable_size(memory), std::memory_order_relaxed);
  std::free(memory);
}

} // namespace

// All forms but those with an alignment, which keep to themselves: ASan has its own of each, and
// watches that none is mixed with another.
void* operator new(std::size_t bytes) {
  return allocate(bytes);
}
void* operator new[](std::size_t bytes) {
  return allocate(bytes);
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return try_allocate(bytes);
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return try_allocate(bytes);
}
void operator delete(void* memory) noexcept {
  release(memory);
}
void operator delete[](void* memory) noexcept {
  release(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  release(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  release(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  release(memory);
}
void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  release(memory);
}

namespace baton::test {

std::size_t live_bytes() noexcept {
  return live.load(std::memory_order_relaxed);
}

} // namespace baton::test
