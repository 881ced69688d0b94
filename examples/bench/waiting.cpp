#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "examples/bench/actor_pair.hpp"
#include "examples/bench/cases.hpp"

namespace baton::bench {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t first_id = 1'000'000; ///< of requests that nobody offers
constexpr seconds settle_limit{30};
constexpr milliseconds look_again{10};
constexpr std::size_t callers = 8;

std::uint64_t count_of(remote_rank& rank, const char* what) {
  return rank.ask("counts").at(what).get<std::uint64_t>();
}

/// Waits until the context rank has heard of all requests.
void settle(actor_pair& ranks, std::uint64_t sessions) {
  const auto deadline = std::chrono::steady_clock::now() + settle_limit;
  while (count_of(ranks.context(), "early") < sessions) {
    if (std::chrono::steady_clock::now() > deadline)
      throw std::runtime_error{"not all requests reached the context rank"};
    std::this_thread::sleep_for(look_again);
  }
}

struct series {
  std::vector<double> resident; ///< KiB per session
  std::vector<double> heap;     ///< KiB per session
  std::vector<double> begin;    ///< microseconds per call
  std::vector<double> cancel;   ///< seconds for all
};

/// Takes new processes, since memory that was used once is no longer growth.
void run_once(std::uint64_t sessions, series& out) {
  actor_pair ranks{{1, 1, 1}};
  auto& generation = ranks.generation();
  static_cast<void>(ranks.hand_over(0, 1));
  ranks.check();

  const auto before = generation.ask("footprint");
  const stopwatch watch;
  generation.ask("begin", ranks.range(first_id, sessions));
  const auto us = watch.microseconds();
  settle(ranks, sessions);
  const auto after = generation.ask("footprint");
  if (const auto waiting = count_of(generation, "sessions"); waiting != sessions)
    throw std::runtime_error{fmt::format("{} sessions wait instead of {}", waiting, sessions)};

  auto all = ranks.range(first_id, sessions);
  all["threads"] = callers;
  const auto cancelled = generation.ask("cancel", all).get<double>();
  if (const auto left = count_of(generation, "live"); left != 0)
    throw std::runtime_error{fmt::format("{} requests live on after their cancel", left)};
  ranks.check();
  ranks.end();

  const auto growth = [&](const char* of) {
    return (after.at(of).get<double>() - before.at(of).get<double>()) /
           static_cast<double>(sessions) / 1024;
  };
  out.resident.push_back(growth("resident"));
  out.heap.push_back(growth("heap"));
  out.begin.push_back(us / static_cast<double>(sessions));
  out.cancel.push_back(cancelled);
}

} // namespace

findings measure_waiting(const settings& how) {
  constexpr double most_kib = 8;
  constexpr double most_seconds = 2;
  const auto sessions = how.sized<std::uint64_t>(10'000, 200);
  series measured;
  for (std::size_t run = 0; run < how.runs; ++run)
    run_once(sessions, measured);
  return {{{"resident growth per session", "KiB", summarize(measured.resident), at_most(most_kib)},
           {"heap growth per session", "KiB", summarize(measured.heap), {}},
           {"request_and_receive_async", "us", summarize(measured.begin), {}},
           {"cancel of all", "s", summarize(measured.cancel), at_most(most_seconds)}},
          {fmt::format("{} sessions, new processes for each run, {} threads cancel", sessions,
                       callers)}};
}

} // namespace baton::bench
