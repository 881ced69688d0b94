#pragma once

namespace baton::soak {

/// Runs one rank to its end, as told by the coordinator over the control socket `fd`, which it
/// takes over.
///
/// First comes `start`, answered `started`. Then, in any number: `offer` (context) and `receive`
/// (generation), each of which ends in one `ended`; `cancel`, answered `cancelled` once the
/// request's blocks are safe; `level`, answered `level`. `leave` is last: the rank shuts down and
/// answers `left`. What makes going on impossible is reported as `failed`.
///
/// The rank writes and checks its blocks itself: it rewrites those of a request as soon as that has
/// ended, after it has looked at what it brought.
///
/// @returns the exit status of the process.
[[nodiscard]] int run_rank(int fd);

} // namespace baton::soak
