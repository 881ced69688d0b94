#include "actors/options.hpp"

namespace baton {

std::string_view to_string(probe_point point) noexcept {
  switch (point) {
  case probe_point::introduced:
    return "introduced";
  case probe_point::requested:
    return "requested";
  case probe_point::granted:
    return "granted";
  case probe_point::pulling:
    return "pulling";
  case probe_point::done:
    return "done";
  }
  return "unknown";
}

} // namespace baton
