#pragma once

#include <span>

#include "examples/bench/report.hpp"
#include "examples/bench/settings.hpp"

namespace baton::bench {

/// Something to be measured. Each checks every byte that it moved, once, outside of the timing, and
/// throws `std::runtime_error` if it cannot run or if a byte is wrong.
struct bench_case {
  const char* name;
  const char* about;
  bool gpu; ///< needs GPUs: two, or as a makeshift one
  findings (*run)(const settings&);
};

[[nodiscard]] std::span<const bench_case> all_cases();

[[nodiscard]] findings measure_mapped(const settings& how);
[[nodiscard]] findings measure_ucx_tcp(const settings& how);
[[nodiscard]] findings measure_ucx_shm(const settings& how);
[[nodiscard]] findings measure_planning(const settings& how);
[[nodiscard]] findings measure_latency(const settings& how);
[[nodiscard]] findings measure_ticket(const settings& how);
[[nodiscard]] findings measure_overlap(const settings& how);
[[nodiscard]] findings measure_waiting(const settings& how);
[[nodiscard]] findings measure_idle(const settings& how);
[[nodiscard]] findings measure_gpu_mapped(const settings& how);
[[nodiscard]] findings measure_gpu_blocks(const settings& how);
[[nodiscard]] findings measure_gpu_reshape(const settings& how);
[[nodiscard]] findings measure_gpu_convert(const settings& how);
[[nodiscard]] findings measure_gpu_llama(const settings& how);
[[nodiscard]] findings measure_gpu_requests(const settings& how);
[[nodiscard]] findings measure_gpu_latency(const settings& how);
[[nodiscard]] findings measure_gpu_compute(const settings& how);
[[nodiscard]] findings measure_gpu_ucx(const settings& how);
[[nodiscard]] findings measure_gpu_tcp(const settings& how);

} // namespace baton::bench
