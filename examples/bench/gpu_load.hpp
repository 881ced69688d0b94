#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "gpu/memory.hpp"
#include "gpu/stream.hpp"

namespace baton::bench {

/// What a model would do to a GPU meanwhile, at the priority that its streams have by default: a
/// large bf16 matrix product (`kernels::multiply`), which is bound by the tensor cores, or the sum
/// of two large arrays (`kernels::add_arrays`), which is bound by the memory. Both are of many
/// short thread blocks.
class gpu_load {
public:
  explicit gpu_load(int device);
  ~gpu_load();
  gpu_load(const gpu_load&) = delete;
  gpu_load& operator=(const gpu_load&) = delete;

  /// Runs "matrix" or "memory" without a pause.
  ///
  /// @returns microseconds of each sample, by the GPU's clock. One more goes before them.
  [[nodiscard]] std::vector<double> run(const std::string& kind, std::size_t samples);

  /// Floating-point operations of one sample of "matrix".
  [[nodiscard]] static double operations() noexcept;
  /// Bytes read and written by one sample of "memory".
  [[nodiscard]] static double traffic() noexcept;

private:
  void start(const std::string& kind);

  int device_;
  device_buffer inputs_;
  device_buffer output_;
  void* stream_ = nullptr;
};

} // namespace baton::bench
