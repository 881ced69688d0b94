#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <ucp/api/ucp.h>

#include "messages/error.hpp"
#include "transport/ucx/worker.hpp"

namespace baton {

/// Owns a UCX endpoint with peer error handling. It is closed by force: what is under way completes
/// soon after, with an error, in later progress of the worker. Not movable, since UCX keeps a
/// pointer to it.
class ucx_endpoint {
public:
  /// @param worker must outlive the endpoint.
  /// @param address of the peer's worker.
  /// @param broken called at most once, from within progress, when the connection is lost.
  /// @returns `peer_lost` when there is no way to that address.
  [[nodiscard]] static expected<std::unique_ptr<ucx_endpoint>>
  connect(ucx_worker& worker, const std::string& address, std::function<void(ucs_status_t)> broken);

  ~ucx_endpoint();
  ucx_endpoint(const ucx_endpoint&) = delete;
  ucx_endpoint& operator=(const ucx_endpoint&) = delete;

  /// Sends a small message; the bytes are copied.
  void send(unsigned id, std::string_view header, std::string body,
            ucx_completion done = {}) noexcept;

  /// Sends a large message, out of the worker's kind of memory. `body` must stay valid until
  /// `done`, which may come within the call.
  void send_large(unsigned id, std::string_view header, std::span<const std::byte> body,
                  ucx_completion done) noexcept;

  /// Tells when everything sent before has arrived, or cannot any more.
  void flush(ucx_completion done) noexcept;

private:
  ucx_endpoint(ucx_worker& worker, std::function<void(ucs_status_t)> broken)
      : worker_{worker}, broken_{std::move(broken)} {}
  static void completed(void* request, ucs_status_t status, void* operation) noexcept;
  void start(unsigned id, ucx_worker::operation* begun, std::span<const std::byte> body,
             ucs_memory_type_t memory, std::uint32_t flags) noexcept;

  ucx_worker& worker_;
  std::function<void(ucs_status_t)> broken_;
  ucp_ep_h handle_ = nullptr;
  std::uint32_t large_flags_ = 0; ///< of large sends
};

} // namespace baton
