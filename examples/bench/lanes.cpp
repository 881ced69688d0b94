#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

#include "examples/bench/cases.hpp"
#include "examples/bench/perftest.hpp"
#include "examples/bench/plane_rank.hpp"
#include "examples/bench/remote_rank.hpp"

namespace baton::bench {

namespace {

using nlohmann::json;

/// A context and a generation rank, two processes, that know each other; one job between them.
class lane_pair {
public:
  /// @param placed with the context rank on core 0 and the generation rank on core 1.
  lane_pair(const cache_setup& setup, const plane_options& options, bool placed)
      : bytes_{setup.bytes()},
        context_{"context", start_of(instance_role::context, setup, options, placed)},
        generation_{"generation", start_of(instance_role::generation, setup, options, placed)} {
    context_.ask("introduce", generation_.ask("describe"));
    const auto choice = generation_.ask("introduce", context_.ask("describe"));
    lane_ = fmt::format("lane {}: {}", choice.at("lane").get<std::string>(),
                        choice.at("reason").get<std::string>());
    right_ = context_.ask("grant");
  }

  [[nodiscard]] const std::string& lane() const noexcept { return lane_; }

  /// Pulls the job so many times. @returns bytes per second.
  [[nodiscard]] double pull(std::size_t times) {
    double us = 0;
    for (std::size_t i = 0; i < times; ++i)
      us += pull_once();
    return rate(us / static_cast<double>(times));
  }

  /// Copies as many bytes within the generation rank. @returns bytes per second.
  [[nodiscard]] double copy() { return rate(generation_.ask("copy").get<double>()); }

  void check_and_end() {
    context_.check();
    generation_.check();
    generation_.end();
    context_.end();
  }

private:
  [[nodiscard]] double pull_once() {
    const auto done = generation_.ask("pull", right_);
    if (const auto fragments = done.at("fragments").get<std::uint64_t>();
        fragments * fragment_bytes != bytes_)
      throw std::runtime_error{fmt::format("{} bytes went in {} fragments", bytes_, fragments)};
    return done.at("us").get<double>();
  }

  static json start_of(instance_role role, const cache_setup& setup, const plane_options& options,
                       bool placed) {
    auto start = plane_start(role, setup, options);
    if (placed)
      start["core"] = role == instance_role::context ? 0 : 1;
    return start;
  }

  [[nodiscard]] double rate(double us) const { return static_cast<double>(bytes_) / us * 1e6; }

  std::uint64_t bytes_;
  remote_rank context_;
  remote_rank generation_;
  std::string lane_;
  json right_;
};

constexpr double giga = 1e9;

/// Measures a lane and what it is compared with in turns, each time after a pull that is not
/// counted: memory that rested for a while is slow at first, and `ucx_perftest` warms up as well. A
/// pull comes last, to be checked.
///
/// @param pulls that one figure is the mean of, for a rival that moves as many bytes.
findings compare(lane_pair& ranks, const settings& how, const std::string& rival,
                 const std::function<double()>& run_rival, std::size_t pulls, double least) {
  std::vector<double> own;
  std::vector<double> other;
  static_cast<void>(run_rival());
  for (std::size_t i = 0; i < how.runs; ++i) {
    other.push_back(run_rival() / giga);
    static_cast<void>(ranks.pull(1));
    own.push_back(ranks.pull(pulls) / giga);
  }
  ranks.check_and_end();
  return {{{"baton", "GB/s", summarize(own), {}},
           {rival, "GB/s", summarize(other), {}},
           {"baton / " + rival, "x", summarize(ratios(own, other)), at_least(least)}},
          {ranks.lane()}};
}

constexpr std::uint32_t layers = 16;

/// @param mebibytes a multiple of a quarter.
cache_setup one_request(std::uint32_t mebibytes) {
  return {layers, 1, mebibytes * ((1u << 20) / fragment_bytes) / layers};
}

findings measure_ucx(const settings& how, plane_options options, double least) {
  options.lanes = lane_policy::ucx;
  const auto mebibytes = how.sized(64u, 4u);
  lane_pair ranks{one_request(mebibytes), options, std::thread::hardware_concurrency() > 1};
  const auto pulls = how.sized<std::size_t>(4, 1);
  const auto messages = pulls * (std::size_t{mebibytes} << 20) / perftest_message;
  auto found = compare(
      ranks, how, "ucx_perftest", [&] { return run_perftest(how.perftest, options, messages); },
      pulls, least);
  std::string note = "ucx_perftest -e -t ucp_am_bw with";
  for (const auto& [name, value] : perftest_environment(options))
    note += fmt::format(" {}={}", name, value);
  found.notes.push_back(std::move(note));
  return found;
}

} // namespace

findings measure_mapped(const settings& how) {
  auto options = how.plane;
  options.lanes = lane_policy::mapped;
  lane_pair ranks{one_request(how.sized(256u, 8u)), options, false};
  return compare(
      ranks, how, "memcpy", [&] { return ranks.copy(); }, 1, 0.85);
}

findings measure_ucx_tcp(const settings& how) {
  auto options = how.plane;
  options.tcp_devices = "lo";
  options.ucx_transports = "tcp";
  return measure_ucx(how, options, 0.8);
}

findings measure_ucx_shm(const settings& how) {
  return measure_ucx(how, how.plane, 0.4);
}

} // namespace baton::bench
