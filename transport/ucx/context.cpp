#include "transport/ucx/context.hpp"

#include "transport/ucx/version.hpp"

namespace baton {

namespace {

using config_handle = unique_handle<ucp_config_t*, ucp_config_release>;

expected<> check_version() {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  ucp_get_version(&major, &minor, &release);
  if (major == UCP_API_MAJOR && minor == UCP_API_MINOR)
    return {};
  return fail(errc::version_mismatch, "the UCX library loaded is {}, built against was {}.{}",
              ucx_version(), UCP_API_MAJOR, UCP_API_MINOR);
}

} // namespace

tl::unexpected<error> ucx_failed(errc code, const char* call, ucs_status_t status) {
  return fail(code, "{}: {}", call, ucs_status_string(status));
}

std::string ucx_version() {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  ucp_get_version(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

bool ucx_moves_gpu_memory() noexcept {
  ucp_config_t* read = nullptr;
  if (ucp_config_read(nullptr, nullptr, &read) != UCS_OK)
    return false;
  const config_handle config{read};
  // A setting is known if, and only if, its module could be loaded.
  return ucp_config_modify(read, "CUDA_IPC_CACHE", "y") == UCS_OK;
}

expected<ucx_context> ucx_context::create(const settings& wanted) {
  if (auto same = check_version(); !same)
    return fail(std::move(same.error()));
  ucp_config_t* read = nullptr;
  if (const auto status = ucp_config_read(nullptr, nullptr, &read); status != UCS_OK)
    return ucx_failed(errc::transport_failed, "ucp_config_read", status);
  const config_handle config{read};
  for (const auto& [name, value] : wanted)
    if (const auto status = ucp_config_modify(read, name.c_str(), value.c_str()); status != UCS_OK)
      return fail(errc::invalid_argument, "UCX refuses {}={}: {}", name, value,
                  ucs_status_string(status));
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  params.name = "baton";
  ucp_context_h context = nullptr;
  if (const auto status = ucp_init(&params, read, &context); status != UCS_OK)
    return ucx_failed(errc::transport_failed, "ucp_init", status);
  return ucx_context{handle{context}};
}

} // namespace baton
