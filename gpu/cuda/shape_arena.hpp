#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "gpu/memory.hpp"
#include "messages/error.hpp"

namespace baton {

/// Device memory for shapes, out of slabs that are kept until the last shape is gone: to free
/// memory piece by piece would wait for whatever runs on the GPU each time. Thread-safe.
class shape_arena : public std::enable_shared_from_this<shape_arena> {
public:
  static constexpr std::size_t slab_bytes = 4u << 20;
  static constexpr std::size_t alignment = 256;

  /// A piece of a slab, given back on destruction. Move-only.
  class piece {
  public:
    piece() = default;
    piece(std::shared_ptr<shape_arena> arena, std::byte* data, std::size_t bytes) noexcept
        : arena_{std::move(arena)}, data_{data}, bytes_{bytes} {}
    piece(piece&& other) noexcept
        : arena_{std::move(other.arena_)},
          data_{std::exchange(other.data_, nullptr)},
          bytes_{other.bytes_} {}
    piece& operator=(piece other) noexcept {
      std::swap(arena_, other.arena_);
      std::swap(data_, other.data_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~piece() {
      if (data_ != nullptr)
        arena_->give_back(data_, bytes_);
    }

    [[nodiscard]] std::byte* data() const noexcept { return data_; }

  private:
    std::shared_ptr<shape_arena> arena_;
    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
  };

  explicit shape_arena(int device) noexcept : device_{device} {}

  /// @returns `out_of_resources` if the GPU's memory is used up.
  [[nodiscard]] expected<piece> take(std::size_t bytes);

private:
  using place = std::map<std::byte*, std::size_t>::iterator;

  [[nodiscard]] place find(std::size_t bytes);
  void give_back(std::byte* data, std::size_t bytes);

  int device_;
  std::mutex mutex_;
  std::vector<device_buffer> slabs_;
  std::map<std::byte*, std::size_t> free_; ///< start and size; neighbours are merged
};

} // namespace baton
