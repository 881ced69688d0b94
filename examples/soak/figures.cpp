#include "examples/soak/figures.hpp"

#include <algorithm>

namespace baton::soak {

namespace {

using nlohmann::ordered_json;

constexpr std::size_t most_problems = 20;

/// Of sorted values, of which there is at least one.
double milliseconds_at(const std::vector<std::int64_t>& sorted, double share) {
  const auto last = static_cast<double>(sorted.size() - 1);
  return static_cast<double>(sorted[static_cast<std::size_t>(last * share + 0.5)]) / 1000.0;
}

std::string counts_of(const std::map<std::string, std::uint64_t>& counts) {
  std::string text;
  for (const auto& [name, count] : counts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name);
  return text.empty() ? "none" : text;
}

std::vector<std::int64_t> all_reclaim_times(const figures& found) {
  std::vector<std::int64_t> all;
  for (const auto& [kind, times] : found.reclaim)
    all.insert(all.end(), times.begin(), times.end());
  return all;
}

void print_times(std::string_view name, std::uint64_t count, std::vector<std::int64_t> times) {
  std::ranges::sort(times);
  if (times.empty())
    return fmt::print("  {:<18} {:>6}\n", name, count);
  fmt::print("  {:<18} {:>6} {:>8} {:>8.1f} {:>8.1f} {:>8.1f} {:>8.1f}\n", name, count,
             times.size(), milliseconds_at(times, 0.5), milliseconds_at(times, 0.9),
             milliseconds_at(times, 0.99), milliseconds_at(times, 1));
}

ordered_json times_as_json(std::vector<std::int64_t> times) {
  if (times.empty())
    return nullptr;
  std::ranges::sort(times);
  return {{"count", times.size()},
          {"p50_ms", milliseconds_at(times, 0.5)},
          {"p90_ms", milliseconds_at(times, 0.9)},
          {"p99_ms", milliseconds_at(times, 0.99)},
          {"max_ms", milliseconds_at(times, 1)}};
}

} // namespace

std::string_view to_string(fault_kind kind) noexcept {
  constexpr std::array<std::string_view, all_faults.size()> names{
      "kill",  "kill_instance", "stop",           "long_stop",        "shutdown",
      "leave", "join",          "cancel_context", "cancel_generation"};
  return names[static_cast<std::size_t>(kind)];
}

void print(const figures& found, const settings& how) {
  const auto seconds = static_cast<double>(found.duration.count()) / 1000.0;
  fmt::print("\nseed {}, {:.0f} s, {} processes\n", how.seed, seconds, found.processes);
  fmt::print("requests           {}, completed {}, failed {}\n", found.requests, found.completed,
             counts_of(found.failed));
  fmt::print("bytes checked      {:.1f} MiB; sources: {}\n",
             static_cast<double>(found.bytes) / (1 << 20), counts_of(found.lanes));
  fmt::print("wrong bytes        {} in completed requests, {} where nobody may write\n",
             found.wrong_bytes, found.stray_bytes);
  fmt::print("leaks              {} ({} processes compared with their level after warm-up)\n",
             found.leaks, found.checks);
  fmt::print("late, hung         {}, {}\n", found.late, found.hung);
  fmt::print("failed unprovoked  {}\n", found.unprovoked);
  fmt::print("crashes            {}; ucx crashes: {}\n", found.crashes, found.ucx_crashes);
  fmt::print("\nms from fault to blocks that are free, on ranks that survive it\n");
  fmt::print("  {:<18} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8}\n", "fault", "count", "requests", "p50",
             "p90", "p99", "max");
  std::uint64_t faults = 0;
  for (const auto kind : all_faults) {
    const auto count = found.faults.contains(kind) ? found.faults.at(kind) : 0;
    faults += count;
    print_times(to_string(kind), count,
                found.reclaim.contains(kind) ? found.reclaim.at(kind)
                                             : std::vector<std::int64_t>{});
  }
  print_times("all", faults, all_reclaim_times(found));
  for (const auto& note : found.notes)
    fmt::print("note: {}\n", note);
  for (std::size_t i = 0; i < std::min(found.problems.size(), most_problems); ++i)
    fmt::print("FAILED: {}\n", found.problems[i]);
  if (found.problems.size() > most_problems)
    fmt::print("FAILED: and {} times more\n", found.problems.size() - most_problems);
  fmt::print("{}\n", found.ok() ? "ok" : "not ok");
}

ordered_json as_json(const figures& found, const settings& how) {
  ordered_json out{{"ok", found.ok()},
                   {"seed", how.seed},
                   {"seconds", static_cast<double>(found.duration.count()) / 1000.0},
                   {"processes", found.processes},
                   {"requests", found.requests},
                   {"completed", found.completed},
                   {"failed", found.failed},
                   {"lanes", found.lanes},
                   {"bytes", found.bytes},
                   {"wrong_bytes", found.wrong_bytes},
                   {"stray_bytes", found.stray_bytes},
                   {"leaks", found.leaks},
                   {"checks", found.checks},
                   {"late", found.late},
                   {"hung", found.hung},
                   {"unprovoked", found.unprovoked},
                   {"crashes", found.crashes},
                   {"ucx_crashes", found.ucx_crashes}};
  for (const auto kind : all_faults) {
    const std::string name{to_string(kind)};
    out["faults"][name] = found.faults.contains(kind) ? found.faults.at(kind) : 0;
    if (found.reclaim.contains(kind))
      out["reclaim"][name] = times_as_json(found.reclaim.at(kind));
  }
  out["reclaim"]["all"] = times_as_json(all_reclaim_times(found));
  out["problems"] = found.problems;
  out["notes"] = found.notes;
  return out;
}

} // namespace baton::soak
