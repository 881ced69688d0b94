#include "transport/ucx/staging_choice.hpp"

namespace baton {

namespace {

/// In one process on one host the mapped lane wins anyway; tcp comes first where hosts differ.
constexpr auto shared_memory_transports = "posix,cma,self";

std::string choose_transports(const staging_wishes& wishes) {
  if (!wishes.transports.empty())
    return wishes.transports;
  if (wishes.tcp)
    return std::string{"tcp,"} + shared_memory_transports;
  if (wishes.gpu_pools && wishes.ucx_has_gpu)
    return std::string{"cuda_ipc,cuda_copy,"} + shared_memory_transports;
  return shared_memory_transports;
}

} // namespace

staging_choice choose_staging(const staging_wishes& wishes) {
  staging_choice choice{choose_transports(wishes), staging_kind::host};
  if (wishes.gpu_pools)
    choice.staging = choice.transports.find("cuda_ipc") == std::string::npos ? staging_kind::pinned
                                                                             : staging_kind::gpu;
  return choice;
}

} // namespace baton
