#pragma once

#include <string>
#include <utility>
#include <vector>

#include <ucp/api/ucp.h>

#include "messages/error.hpp"
#include "transport/base/unique_handle.hpp"

namespace baton {

/// Turns a UCX status into an error; the text keeps UCX's own words.
[[nodiscard]] tl::unexpected<error> ucx_failed(errc code, const char* call, ucs_status_t status);

/// Whether the UCX library loaded can move GPU memory: it has the modules, and they found a driver.
[[nodiscard]] bool ucx_moves_gpu_memory() noexcept;

/// Owns a UCX context for active messages with wake-up. Must outlive its workers.
class ucx_context {
public:
  /// UCX settings by name without "UCX_", e.g. {"TLS", "posix,cma"}.
  using settings = std::vector<std::pair<std::string, std::string>>;

  /// @returns `version_mismatch` when the library loaded is not the one built against,
  /// `invalid_argument` for
  ///          a setting that UCX refuses, else `transport_failed`.
  [[nodiscard]] static expected<ucx_context> create(const settings& wanted);

  [[nodiscard]] ucp_context_h get() const noexcept { return handle_.get(); }

private:
  using handle = unique_handle<ucp_context_h, ucp_cleanup>;
  explicit ucx_context(handle owned) noexcept : handle_{std::move(owned)} {}

  handle handle_;
};

} // namespace baton
