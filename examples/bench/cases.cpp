#include "examples/bench/cases.hpp"

#include <array>

namespace baton::bench {

std::span<const bench_case> all_cases() {
  static constexpr std::array cases{
      bench_case{"mapped", "mapped lane against memcpy", false, measure_mapped},
      bench_case{"ucx-tcp", "ucx lane over tcp on lo against ucx_perftest", false, measure_ucx_tcp},
      bench_case{"ucx-shm", "ucx lane over shared memory against ucx_perftest", false,
                 measure_ucx_shm},
      bench_case{"planning", "plans of 100,000 fragments", false, measure_planning},
      bench_case{"latency", "a request of one block against a bare CAF round trip", false,
                 measure_latency},
      bench_case{"ticket", "a request of one block with a ticket against asking for it", false,
                 measure_ticket},
      bench_case{"overlap", "a prefill in chunks, handed over while it computes", false,
                 measure_overlap},
      bench_case{"waiting", "10,000 requests that wait for a grant", false, measure_waiting},
      bench_case{"idle", "CPU time of a rank without work", false, measure_idle},
      bench_case{"gpu-mapped", "mapped lane by job and fragment size against the copy engine", true,
                 measure_gpu_mapped},
      bench_case{"gpu-blocks", "mapped lane by thread blocks and fragment size", true,
                 measure_gpu_blocks},
      bench_case{"gpu-reshape", "unlike tp, inner order and block size against the matched case",
                 true, measure_gpu_reshape},
      bench_case{"gpu-convert", "pulls that convert elements against plain pulls of as many bytes",
                 true, measure_gpu_convert},
      bench_case{"gpu-llama", "a request of Llama 3 70B", true, measure_gpu_llama},
      bench_case{"gpu-requests", "1, 8 and 64 requests at once", true, measure_gpu_requests},
      bench_case{"gpu-latency", "a request of one block against a bare CAF round trip", true,
                 measure_gpu_latency},
      bench_case{"gpu-compute", "what pulls cost a model that computes meanwhile", true,
                 measure_gpu_compute},
      bench_case{"gpu-ucx", "ucx lane by job and fragment size against ucx_perftest", true,
                 measure_gpu_ucx},
      bench_case{"gpu-tcp", "ucx lane over tcp on lo against ucx_perftest", true, measure_gpu_tcp},
  };
  return cases;
}

} // namespace baton::bench
