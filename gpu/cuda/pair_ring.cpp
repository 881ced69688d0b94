#include "gpu/cuda/pair_ring.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "gpu/cuda/copy_kernel.hpp"
#include "gpu/cuda/error.hpp"

namespace baton {

expected<pair_ring> pair_ring::create(int device, std::uint32_t pairs, std::uint32_t places) {
  const std::size_t bytes = std::size_t{pairs} * sizeof(copy_pair);
  pair_ring made;
  made.size_ = pairs;
  auto host = pinned_buffer::create(device, bytes);
  if (!host)
    return fail(std::move(host.error()));
  made.host_ = std::move(*host);
  auto memory = device_buffer::create(device, bytes);
  if (!memory)
    return fail(std::move(memory.error()));
  made.device_ = std::move(*memory);
  // Not behind the kernels for which they are not.
  auto uploads = gpu_stream::create(device, gpu_priority::urgent);
  if (!uploads)
    return fail(std::move(uploads.error()));
  made.uploads_ = std::move(*uploads);
  for (std::uint32_t i = 0; i < places; ++i) {
    auto event = gpu_event::create(device);
    if (!event)
      return fail(std::move(event.error()));
    made.uploaded_.push_back(std::move(*event));
  }
  return made;
}

// Pairs lie in a row, so the last few of the ring are left out if they are not worth a launch.
pair_ring::mark pair_ring::start_of(std::uint64_t count) const noexcept {
  const std::uint64_t left = size_ - taken_ % size_;
  return left < std::min(count, size_ / 4) ? taken_ + left : taken_;
}

std::uint64_t pair_ring::room(std::uint64_t wanted) const noexcept {
  const mark start = start_of(wanted);
  const mark limit = freed_ + size_;
  return start < limit ? std::min({wanted, limit - start, size_ - start % size_}) : 0;
}

expected<const copy_pair*> pair_ring::send(std::span<const std::span<const copy_pair>> parts,
                                           gpu_stream_ref reader, std::uint32_t place) {
  std::uint64_t count = 0;
  for (const auto& part : parts)
    count += part.size();
  const mark start = start_of(count);
  const std::size_t offset = start % size_ * sizeof(copy_pair);
  std::byte* to = host_.data() + offset;
  for (const auto& part : parts) {
    std::memcpy(to, part.data(), part.size_bytes());
    to += part.size_bytes();
  }
  taken_ = start + count;
  auto* const uploaded = reinterpret_cast<copy_pair*>(device_.data() + offset);
  auto done =
      check(launch_upload(reinterpret_cast<const copy_pair*>(host_.device_data() + offset),
                          uploaded, count, static_cast<cudaStream_t>(uploads_.ref().handle)),
            "launch of an upload");
  if (done)
    done = uploaded_[place].record(uploads_.ref());
  if (done)
    done = wait_for(reader, uploaded_[place].ref());
  if (!done)
    return fail(std::move(done.error()));
  return uploaded;
}

} // namespace baton
