#pragma once

#include <string>

namespace baton {

/// Returns the version of the UCX library in use, e.g. "1.22.0".
[[nodiscard]] std::string ucx_version();

} // namespace baton
