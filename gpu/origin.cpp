#include "gpu/inspect.hpp"

namespace baton {

std::string_view to_string(memory_origin origin) noexcept {
  switch (origin) {
  case memory_origin::host:
    return "host memory";
  case memory_origin::device:
    return "cudaMalloc memory";
  case memory_origin::device_vmm:
    return "memory of the virtual memory calls";
  case memory_origin::device_pool:
    return "cudaMallocAsync memory";
  case memory_origin::managed:
    return "managed memory";
  }
  return "unknown memory";
}

} // namespace baton
