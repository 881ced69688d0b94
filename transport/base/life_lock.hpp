#pragma once

#include <pthread.h>

#include <utility>

#include "messages/error.hpp"

namespace baton {

/// Shared memory by which other processes see whether its owner is alive: a robust mutex, locked
/// for as long as the owner lives. Part of the format between processes, which is that of the C
/// library.
struct alignas(64) life_word {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
};
static_assert(sizeof(life_word) == 64);

/// Keeps a life word locked. A thread of its own, which lives as long as the process, holds it:
/// when that dies, however it dies, the kernel marks the word before it closes the descriptors and
/// frees the memory of the process. Move-only.
class life_lock {
public:
  /// Makes and locks the word.
  ///
  /// @param where must stay mapped and writable until this lock ends.
  /// @returns `out_of_resources` if the thread cannot be started or the word not be locked.
  [[nodiscard]] static expected<life_lock> take(life_word& where);

  life_lock(life_lock&& other) noexcept : where_{std::exchange(other.where_, nullptr)} {}
  life_lock& operator=(life_lock other) noexcept {
    std::swap(where_, other.where_);
    return *this;
  }
  /// From now on the owner counts as dead.
  ~life_lock();

private:
  explicit life_lock(life_word& where) noexcept : where_{&where} {}

  life_word* where_ = nullptr;
};

/// Whether the word is locked and its owner alive. What was read before from memory that lives as
/// long as the owner's process was read in time if it is. Never blocks; read-only memory suffices.
[[nodiscard]] bool is_alive(const life_word& word) noexcept;

} // namespace baton
