#pragma once

#include <utility>

#include "gpu/event.hpp"

namespace baton {

/// Marks the point that a stream has reached, for callers that have a stream where an event is
/// asked for. The event must outlive whoever waits for it.
///
/// @param device of the stream, an ordinal.
/// @returns `invalid_argument` for an unknown GPU, else `gpu_failed`.
[[nodiscard]] inline expected<gpu_event> record_event(int device, gpu_stream_ref stream) {
  auto event = gpu_event::create(device);
  if (event)
    if (auto recorded = event->record(stream); !recorded)
      return fail(std::move(recorded.error()));
  return event;
}

} // namespace baton
