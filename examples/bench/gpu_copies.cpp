#include "examples/bench/gpu_copies.hpp"

#include <numeric>
#include <random>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "examples/bench/gpu_call.hpp"
#include "examples/bench/statistics.hpp"
#include "examples/support/value_of.hpp"
#include "gpu/device.hpp"

namespace baton::bench {

namespace {

using examples::value_of;

/// Returns the first `count` of all slots in random order.
std::vector<std::size_t> draw(std::size_t slots, std::size_t count, std::uint64_t seed) {
  std::vector<std::size_t> all(slots);
  std::iota(all.begin(), all.end(), std::size_t{0});
  std::mt19937_64 random{seed};
  for (std::size_t i = 0; i < count; ++i)
    std::swap(all[i], all[i + random() % (slots - i)]);
  all.resize(count);
  return all;
}

} // namespace

gpu_copies::gpu_copies(int device, const ipc_range& peer)
    : device_{device},
      peer_{value_of(ipc_mapping::open(device, peer))},
      own_{value_of(device_buffer::create(device, peer_.size()))},
      stream_{value_of(gpu_stream::create(device))},
      done_{value_of(gpu_event::create(device))} {
}

template <class Issue>
double gpu_copies::timed(Issue issue) {
  const gpu_scope scope{device_};
  const stopwatch watch;
  issue();
  value_of(done_.record(stream_.ref()));
  spin_until(done_);
  return watch.microseconds();
}

double gpu_copies::contiguous(std::size_t bytes) {
  if (bytes > size())
    throw std::runtime_error{
        fmt::format("{} bytes to copy, but only {} are mapped", bytes, size())};
  return timed([&] { value_of(copy_async(own_.data(), peer_.data(), bytes, stream_.ref())); });
}

double gpu_copies::each(std::size_t fragment, std::size_t count) {
  const auto& list = fragments(fragment, count);
  return timed([&] {
    require(kernels::copy_each({list.to.data(), list.from.data(), list.bytes.data(), count},
                               stream_.ref().handle));
  });
}

double gpu_copies::batch(std::size_t fragment, std::size_t count) {
  const auto& list = fragments(fragment, count);
  return timed([&] {
    require(kernels::copy_batch({list.to.data(), list.from.data(), list.bytes.data(), count},
                                stream_.ref().handle));
  });
}

const gpu_copies::scattered& gpu_copies::fragments(std::size_t fragment, std::size_t count) {
  if (list_.bytes.size() == count && list_.bytes.front() == fragment)
    return list_;
  const auto slots = size() / fragment;
  if (count > slots)
    throw std::runtime_error{
        fmt::format("{} fragments of {} bytes do not fit into {}", count, fragment, size())};
  list_ = {};
  for (const auto slot : draw(slots, count, 1))
    list_.to.push_back(own_.data() + slot * fragment);
  for (const auto slot : draw(slots, count, 2))
    list_.from.push_back(peer_.data() + slot * fragment);
  list_.bytes.assign(count, fragment);
  return list_;
}

} // namespace baton::bench
