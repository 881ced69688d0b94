#include "transport/base/memory_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/base/memory_room.hpp"

namespace baton {

namespace {

constexpr std::size_t huge_page = 2u << 20;
constexpr std::size_t touch_step = 256u << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

tl::unexpected<error> refused(const char* name, const char* call) {
  return fail(errc::out_of_resources, "{}: {} failed: {}", name, call, std::strerror(errno));
}

/// Unlike MAP_POPULATE this reports a lack of memory instead of leaving it to a later SIGBUS.
bool touch(const memory_file& file, std::size_t offset, std::size_t bytes) {
  if (madvise(file.memory.data() + offset, bytes, MADV_POPULATE_WRITE) == 0)
    return true;
  return errno == EINVAL && fallocate(file.descriptor.get(), 0, static_cast<off_t>(offset),
                                      static_cast<off_t>(bytes)) == 0;
}

/// Shared memory beyond what is there is not refused by the kernel: it kills a process for it.
expected<> check_room(const char* name, std::size_t bytes) {
  const auto room = measure_memory_room();
  // What the kernel calls available is an estimate, so a part of it stays free.
  if (bytes <= room.bytes - room.bytes / 32)
    return {};
  return fail(errc::out_of_resources,
              "{}: {} bytes do not fit, {} has {} left; ask for less, or free some memory", name,
              bytes, room.owner, room.bytes);
}

/// Looks anew before every step, since others may take memory at the same time.
expected<> touch_all(const char* name, const memory_file& file, bool huge) {
  const auto bytes = file.memory.size();
  for (std::size_t offset = 0; offset < bytes; offset += touch_step) {
    if (!huge)
      if (auto fits = check_room(name, bytes - offset); !fits)
        return fits;
    if (!touch(file, offset, std::min(touch_step, bytes - offset)))
      return refused(name, "touching the pages");
  }
  return {};
}

expected<memory_file> create_with(const char* name, std::size_t bytes, bool huge) {
  memory_file file;
  file.descriptor =
      unique_fd{memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB : 0u))};
  if (!file.descriptor)
    return refused(name, "memfd_create");
  if (ftruncate(file.descriptor.get(), static_cast<off_t>(bytes)) != 0)
    return refused(name, "ftruncate");
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor.get(), 0);
  if (data == MAP_FAILED)
    return refused(name, "mmap");
  file.memory = mapping{data, bytes};
  if (!huge)
    madvise(data, bytes, MADV_HUGEPAGE);
  if (auto touched = touch_all(name, file, huge); !touched)
    return fail(std::move(touched.error()));
  if (fcntl(file.descriptor.get(), F_ADD_SEALS,
            F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE) != 0)
    return refused(name, "sealing");
  return file;
}

} // namespace

mapping::mapping(void* data, std::size_t bytes) noexcept
    : data_{static_cast<std::byte*>(data)}, bytes_{bytes} {
}

mapping::mapping(mapping&& other) noexcept
    : data_{std::exchange(other.data_, nullptr)}, bytes_{std::exchange(other.bytes_, 0)} {
}

mapping& mapping::operator=(mapping other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

mapping::~mapping() {
  if (data_)
    munmap(data_, bytes_);
}

std::span<std::byte> mapping::release() noexcept {
  return {std::exchange(data_, nullptr), std::exchange(bytes_, 0)};
}

void mapping::cut(std::size_t bytes) noexcept {
  const auto gone = std::min(bytes, bytes_);
  bytes_ -= gone;
  munmap(data_ + bytes_, gone);
  if (bytes_ == 0)
    data_ = nullptr;
}

expected<memory_file> create_memory_file(const char* name, std::size_t bytes, bool huge) {
  if (bytes == 0 || bytes > PTRDIFF_MAX - huge_page)
    return fail(errc::out_of_resources, "{}: cannot have {} bytes", name, bytes);
  if (huge && bytes >= huge_page)
    if (auto file = create_with(name, round_up(bytes, huge_page), true))
      return file;
  if (auto fits = check_room(name, bytes); !fits)
    return fail(std::move(fits.error()));
  return create_with(name, round_up(bytes, static_cast<std::size_t>(sysconf(_SC_PAGESIZE))), false);
}

expected<mapping> map_sealed(int descriptor, std::size_t bytes, std::string_view what) {
  constexpr int needed = F_SEAL_SHRINK | F_SEAL_GROW;
  const int seals = fcntl(descriptor, F_GET_SEALS);
  if (seals < 0 || (seals & needed) != needed)
    return fail(errc::transport_failed,
                "{} of the peer is not sealed against shrinking and growing", what);
  struct stat status {};
  if (fstat(descriptor, &status) != 0 || static_cast<std::size_t>(status.st_size) < bytes)
    return fail(errc::transport_failed, "{} of the peer has {} bytes, {} are needed", what,
                status.st_size, bytes);
  const auto whole = static_cast<std::size_t>(status.st_size);
  void* data = mmap(nullptr, whole, PROT_READ, MAP_SHARED, descriptor, 0);
  if (data == MAP_FAILED)
    return fail(errc::transport_failed, "mapping {} of the peer failed: {}", what,
                std::strerror(errno));
  mapping result{data, whole};
  madvise(data, whole, MADV_HUGEPAGE);
  return result;
}

bool warm(const mapping& memory, std::size_t offset, std::size_t bytes) noexcept {
  return madvise(memory.data() + offset, bytes, MADV_POPULATE_READ) == 0;
}

expected<mapping> map_private(std::size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    return fail(errc::out_of_resources, "cannot allocate {} bytes: {}", bytes,
                std::strerror(errno));
  mapping result{data, bytes};
  madvise(data, bytes, MADV_HUGEPAGE);
  if (madvise(data, bytes, MADV_POPULATE_WRITE) != 0 && errno != EINVAL)
    return fail(errc::out_of_resources, "cannot allocate {} bytes: {}", bytes,
                std::strerror(errno));
  return result;
}

} // namespace baton
