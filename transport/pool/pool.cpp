#include "transport/pool/pool.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "transport/base/memory_file.hpp"

namespace baton {

expected<host_pool> host_pool::create(std::size_t bytes) {
  if (bytes == 0)
    return fail(errc::invalid_argument, "a pool needs at least one byte");
  auto file = create_memory_file("baton-pool", bytes, true);
  if (!file)
    return fail(std::move(file.error()));
  host_pool pool;
  const auto memory = file->memory.release();
  pool.data_ = memory.data();
  pool.bytes_ = bytes;
  pool.mapped_ = memory.size();
  pool.descriptor_ = file->descriptor.release();
  return pool;
}

expected<host_pool> host_pool::adopt(void* data, std::size_t bytes) {
  if (data == nullptr || bytes == 0)
    return fail(errc::invalid_argument, "a pool needs memory: {} bytes at {}", bytes, data);
  host_pool pool;
  pool.data_ = static_cast<std::byte*>(data);
  pool.bytes_ = bytes;
  return pool;
}

host_pool::host_pool(host_pool&& other) noexcept
    : data_{std::exchange(other.data_, nullptr)},
      bytes_{std::exchange(other.bytes_, 0)},
      mapped_{std::exchange(other.mapped_, 0)},
      descriptor_{std::exchange(other.descriptor_, -1)} {
}

host_pool& host_pool::operator=(host_pool&& other) noexcept {
  host_pool taken{std::move(other)};
  std::swap(data_, taken.data_);
  std::swap(bytes_, taken.bytes_);
  std::swap(mapped_, taken.mapped_);
  std::swap(descriptor_, taken.descriptor_);
  return *this;
}

host_pool::~host_pool() {
  if (mapped_ != 0)
    munmap(data_, mapped_);
  if (descriptor_ >= 0)
    close(descriptor_);
}

} // namespace baton
