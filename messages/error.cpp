#include "messages/error.hpp"

namespace baton {

std::string_view to_string(errc code) noexcept {
  switch (code) {
  case errc::invalid_argument:
    return "invalid_argument";
  case errc::incompatible_layout:
    return "incompatible_layout";
  case errc::version_mismatch:
    return "version_mismatch";
  case errc::unknown_request:
    return "unknown_request";
  case errc::duplicate_request:
    return "duplicate_request";
  case errc::timed_out:
    return "timed_out";
  case errc::cancelled:
    return "cancelled";
  case errc::peer_lost:
    return "peer_lost";
  case errc::lease_revoked:
    return "lease_revoked";
  case errc::transport_failed:
    return "transport_failed";
  case errc::gpu_failed:
    return "gpu_failed";
  case errc::out_of_resources:
    return "out_of_resources";
  case errc::shutting_down:
    return "shutting_down";
  }
  return "unknown";
}

bool retryable(errc code) noexcept {
  return code == errc::peer_lost || code == errc::lease_revoked || code == errc::transport_failed;
}

std::string to_string(const error& err) {
  return fmt::format("{}: {}", to_string(err.code), err.text);
}

} // namespace baton
