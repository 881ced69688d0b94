#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "actors/directory.hpp"

namespace baton {

/// Has all ranks that compute a request with `asker` make their tickets, and answers them as one.
///
/// @returns (by the promise) the first error of a rank that has none within `patience`, is not
/// enlisted or was lost; `out_of_resources` if they take more than `ticket_bytes`.
[[nodiscard]] caf::result<std::string> collect_tickets(directory_actor::pointer self,
                                                       const directory_state& directory,
                                                       std::uint32_t asker, request_id request,
                                                       std::chrono::milliseconds patience);

/// Reads a time that came in a message.
[[nodiscard]] std::chrono::milliseconds read_patience(std::uint64_t patience_ms) noexcept;

} // namespace baton
