#pragma once

#include <spdlog/logger.h>

namespace baton {

/// Returns baton's logger: named "baton", writes to standard error, level `warn`. A host changes it
/// by `spdlog::get("baton")`, or registers one of that name before it starts a rank. Thread-safe.
[[nodiscard]] spdlog::logger& log();

} // namespace baton
