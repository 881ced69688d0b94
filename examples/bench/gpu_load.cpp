#include "examples/bench/gpu_load.hpp"

#include <chrono>
#include <stdexcept>

#include "examples/bench/gpu_call.hpp"
#include "examples/support/value_of.hpp"
#include "gpu/device.hpp"
#include "gpu/event.hpp"

namespace baton::bench {

namespace {

using examples::value_of;

constexpr std::uint32_t matrix_size = 8192;
constexpr std::size_t matrix_elements = std::size_t{matrix_size} * matrix_size;
constexpr std::size_t matrix_bytes = 2 * matrix_elements;
constexpr std::size_t array_bytes = 2 * matrix_bytes; ///< as large as the product
constexpr std::size_t array_count = array_bytes / sizeof(float);
constexpr std::size_t sums_a_sample = 16; ///< together about as long as one product

} // namespace

double gpu_load::operations() noexcept {
  return 2.0 * matrix_size * static_cast<double>(matrix_elements);
}

double gpu_load::traffic() noexcept {
  return 3.0 * static_cast<double>(array_bytes * sums_a_sample);
}

gpu_load::gpu_load(int device)
    : device_{device},
      inputs_{value_of(device_buffer::create(device, 2 * matrix_bytes))},
      output_{value_of(device_buffer::create(device, array_bytes))} {
  const gpu_scope scope{device_};
  require(kernels::make_stream(&stream_));
  require(kernels::fill_matrix(inputs_.data(), 2 * matrix_elements, 1, stream_));
  value_of(fill_async(output_.data(), std::byte{0}, array_bytes, {stream_}));
  value_of(finish({stream_}, gpu_limit));
}

gpu_load::~gpu_load() {
  const gpu_scope scope{device_};
  kernels::drop_stream(stream_);
}

void gpu_load::start(const std::string& kind) {
  auto* const output = reinterpret_cast<float*>(output_.data());
  if (kind == "matrix")
    return require(kernels::multiply(inputs_.data(), inputs_.data() + matrix_bytes, output,
                                     matrix_size, stream_));
  if (kind != "memory")
    throw std::invalid_argument{"there is no load called " + kind};
  for (std::size_t i = 0; i < sums_a_sample; ++i)
    require(kernels::add_arrays(reinterpret_cast<const float*>(inputs_.data()), output, array_count,
                                stream_));
}

std::vector<double> gpu_load::run(const std::string& kind, std::size_t samples) {
  const gpu_scope scope{device_};
  std::vector<gpu_event> marks;
  for (std::size_t i = 0; i < samples + 2; ++i)
    marks.push_back(value_of(gpu_event::create(device_, true)));
  for (auto& mark : marks) {
    value_of(mark.record({stream_}));
    if (&mark != &marks.back())
      start(kind);
  }
  value_of(finish({stream_}, gpu_limit));
  std::vector<double> us;
  for (std::size_t i = 2; i < marks.size(); ++i)
    us.push_back(
        std::chrono::duration<double, std::micro>{value_of(marks[i].since(marks[i - 1]))}.count());
  return us;
}

} // namespace baton::bench
