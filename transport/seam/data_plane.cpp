#include "transport/seam/data_plane.hpp"

namespace baton {

std::string_view to_string(lane_kind lane) noexcept {
  switch (lane) {
  case lane_kind::mapped:
    return "mapped";
  case lane_kind::ucx:
    return "ucx";
  }
  return "unknown";
}

} // namespace baton
