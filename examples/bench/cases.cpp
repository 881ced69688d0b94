#include "examples/bench/cases.hpp"

#include <array>

namespace baton::bench {

std::span<const bench_case> all_cases() {
  static constexpr std::array cases{
      bench_case{"mapped", "mapped lane against memcpy", measure_mapped},
      bench_case{"ucx-tcp", "ucx lane over tcp on lo against ucx_perftest", measure_ucx_tcp},
      bench_case{"ucx-shm", "ucx lane over shared memory against ucx_perftest", measure_ucx_shm},
      bench_case{"planning", "plans of 100,000 fragments", measure_planning},
      bench_case{"latency", "a request of one block against a bare CAF round trip",
                 measure_latency},
      bench_case{"waiting", "10,000 requests that wait for a grant", measure_waiting},
      bench_case{"idle", "CPU time of a rank without work", measure_idle},
  };
  return cases;
}

} // namespace baton::bench
