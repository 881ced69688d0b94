#include "actors/connect.hpp"

#include <charconv>

namespace baton {

expected<std::pair<std::string, std::uint16_t>> split_endpoint(const std::string& endpoint) {
  const auto colon = endpoint.rfind(':');
  std::uint16_t port = 0;
  if (colon != std::string::npos && colon > 0) {
    const auto* first = endpoint.data() + colon + 1;
    const auto* last = endpoint.data() + endpoint.size();
    const auto [end, code] = std::from_chars(first, last, port);
    if (code == std::errc{} && end == last && port != 0)
      return std::pair{endpoint.substr(0, colon), port};
  }
  return fail(errc::invalid_argument, "endpoint '{}' is not host:port", endpoint);
}

} // namespace baton
