#pragma once

namespace baton::handoff {

/// Takes note of SIGINT and SIGTERM from now on, so that no process is left behind.
void watch_interruptions();

/// Whether one of them came.
[[nodiscard]] bool interrupted() noexcept;

} // namespace baton::handoff
