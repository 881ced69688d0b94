#pragma once

#include <string>

#include "transport/ucx/staging_ring.hpp"

namespace baton {

/// How the ucx lane of a rank moves its chunks.
struct staging_choice {
  std::string transports; ///< UCX_TLS
  staging_kind staging = staging_kind::host;
};

/// What decides over it.
struct staging_wishes {
  std::string transports; ///< asked for by the options; empty: ours to choose
  bool tcp = false;       ///< peers on other hosts are expected
  bool gpu_pools = false;
  bool ucx_has_gpu = false; ///< UCX can move GPU memory
};

/// Chunks of GPU pools stay on the GPU where UCX goes from GPU to GPU, that is by cuda_ipc within a
/// host. Over anything else UCX would take them through the host piece by piece, so there they are
/// staged in page-locked host memory, of which kernels read and write whole chunks. Pure.
[[nodiscard]] staging_choice choose_staging(const staging_wishes& wishes);

} // namespace baton
