#include "tests/support/gpu_planes.hpp"

#include <array>
#include <thread>

namespace baton::test {

namespace {

template <class T>
T need(expected<T> value) {
  BOOST_REQUIRE_MESSAGE(value, (value ? std::string{} : to_string(value.error())));
  return std::move(*value);
}

void need(const expected<>& done) {
  BOOST_REQUIRE_MESSAGE(done, (done ? std::string{} : to_string(done.error())));
}

} // namespace

std::ostream& operator<<(std::ostream& out, pool_memory memory) {
  constexpr std::array names{"host", "device", "cuda_malloc"};
  return out << names.at(static_cast<std::size_t>(memory));
}

std::ostream& operator<<(std::ostream& out, const pairing& pair) {
  return out << pair.source << " -> " << pair.destination;
}

bool written(const plane_rank& rank, std::byte before) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < end)
    for (std::uint32_t slot = 0; slot < rank.shape.slots; ++slot) {
      std::byte first{};
      need(copy_now(&first, rank.fragment(slot, 0), 1));
      if (first != before)
        return true;
    }
  return false;
}

void blank(const plane_rank& rank, std::byte value) {
  const auto& pool = rank.plane->pool(0);
  const auto stream = need(gpu_stream::create(pool.device()->device()));
  need(fill_async(pool.data(), value, pool.size(), stream.ref()));
  need(finish(stream.ref(), patience));
}

busy_stream::busy_stream(int device)
    : memory{need(device_buffer::create(device, std::size_t{1} << 30))},
      stream{need(gpu_stream::create(device))} {
  for (int i = 0; i < 400; ++i)
    need(fill_async(memory.data(), std::byte{1}, memory.size(), stream.ref()));
  event = need(record_event(device, stream.ref()));
}

bool busy_stream::done() const {
  return need(is_complete(event.ref()));
}

} // namespace baton::test
