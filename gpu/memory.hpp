#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "messages/error.hpp"

namespace baton {

/// Owns plain device memory (cudaMalloc); for rings and private buffers. Its contents are undefined
/// at first. Empty after a move. Not thread-safe.
///
/// Making and freeing it may wait for work of the GPU: keep both off the data thread.
class device_buffer {
public:
  /// @param bytes greater than 0; the start is aligned to 256 bytes.
  /// @returns `out_of_resources` if the GPU's memory is used up, `invalid_argument` for 0 bytes or
  ///          an unknown GPU, else `gpu_failed`.
  [[nodiscard]] static expected<device_buffer> create(int device, std::size_t bytes);

  device_buffer() = default;
  device_buffer(device_buffer&& other) noexcept
      : data_{std::exchange(other.data_, nullptr)},
        bytes_{std::exchange(other.bytes_, 0)},
        device_{other.device_} {}
  device_buffer& operator=(device_buffer other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(device_, other.device_);
    return *this;
  }
  ~device_buffer();

  /// A device address; not to be read by the host.
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }
  [[nodiscard]] int device() const noexcept { return device_; }
  /// Gives up the memory without freeing it: for memory that a hung kernel may still use.
  void leak() noexcept { data_ = nullptr; }

private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  int device_ = 0;
};

/// Owns page-locked host memory that all GPUs of the process can read and write. Empty after a
/// move. Not thread-safe. Slow to make and to free.
class pinned_buffer {
public:
  /// @param bytes greater than 0; the memory is zero at first.
  /// @returns `out_of_resources`, `invalid_argument` for 0 bytes, else `gpu_failed`.
  [[nodiscard]] static expected<pinned_buffer> create(int device, std::size_t bytes);

  pinned_buffer() = default;
  pinned_buffer(pinned_buffer&& other) noexcept
      : data_{std::exchange(other.data_, nullptr)},
        device_data_{std::exchange(other.device_data_, nullptr)},
        bytes_{std::exchange(other.bytes_, 0)},
        device_{other.device_} {}
  pinned_buffer& operator=(pinned_buffer other) noexcept {
    std::swap(data_, other.data_);
    std::swap(device_data_, other.device_data_);
    std::swap(bytes_, other.bytes_);
    std::swap(device_, other.device_);
    return *this;
  }
  ~pinned_buffer();

  /// The host's address.
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  /// The same memory's address for kernels.
  [[nodiscard]] std::byte* device_data() const noexcept { return device_data_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }
  /// Gives up the memory without freeing it: for memory that a hung kernel may still use.
  void leak() noexcept { data_ = nullptr; }

private:
  std::byte* data_ = nullptr;
  std::byte* device_data_ = nullptr;
  std::size_t bytes_ = 0;
  int device_ = 0;
};

/// What kernels may do with memory that is mapped for them.
enum class gpu_access : std::uint8_t { read_only, read_write };

/// Page-locks host memory of somebody else, e.g. a mapped memfd, so that kernels can use it, and
/// unlocks it on destruction. Memory that CUDA has locked already is used as it is. Empty after a
/// move. Not thread-safe. Slow: it touches each page.
class host_registration {
public:
  /// @param memory must stay mapped for as long as the registration. Its start and size should be
  ///        multiples of the page size; no other registration may overlap it.
  /// @param access `read_only` also takes pages that are mapped without write permission.
  /// @returns `invalid_argument` for an empty range, `out_of_resources` if the limit on locked
  ///          memory (ulimit -l) is too low, else `gpu_failed`; a GPU that cannot register
  ///          read-only pages says so.
  [[nodiscard]] static expected<host_registration>
  create(int device, std::span<const std::byte> memory, gpu_access access);

  host_registration() = default;
  host_registration(host_registration&& other) noexcept
      : memory_{std::exchange(other.memory_, {})},
        device_data_{std::exchange(other.device_data_, nullptr)},
        device_{other.device_},
        ours_{std::exchange(other.ours_, false)} {}
  host_registration& operator=(host_registration other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(device_data_, other.device_data_);
    std::swap(device_, other.device_);
    std::swap(ours_, other.ours_);
    return *this;
  }
  ~host_registration();

  /// The memory's address for kernels.
  [[nodiscard]] const std::byte* device_data() const noexcept { return device_data_; }
  [[nodiscard]] std::size_t size() const noexcept { return memory_.size(); }

private:
  std::span<const std::byte> memory_;
  const std::byte* device_data_ = nullptr;
  int device_ = 0;
  bool ours_ = false; ///< whether it was locked here
};

} // namespace baton
