#pragma once

namespace baton::handoff {

/// Runs one rank to its end, as told by the runner over the control socket `fd`, which it takes
/// over.
///
/// The runner first sends `start`; the rank answers `started` (its endpoint is up) and `ready` (its
/// pools are filled). Then come, in any number: `offer` or, in workflows that prepare, `prepare`
/// (context), and `receive` (generation), each answered `taken` when the transceiver has it (but
/// for receives that block); what was prepared is offered when it is ready; `cancel`, `shutdown`
/// and `release`, which act on a fault that was reported as `parked`. Each request ends in one
/// `outcome`. `finish` is last: the rank shuts down, checks its pools, dumps them if told to, and
/// answers `finished`. Whatever makes going on impossible is reported as `failed`.
///
/// @returns the exit status of the process.
[[nodiscard]] int run_rank(int fd);

} // namespace baton::handoff
