#include "examples/bench/gpu_pair.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "examples/bench/gpu_rank.hpp"
#include "examples/bench/plane_card.hpp"
#include "examples/support/value_of.hpp"
#include "gpu/device.hpp"

namespace baton::bench {

namespace {

using nlohmann::json;

constexpr double us_limit = 4e6; ///< for all runs of one figure
constexpr std::chrono::seconds case_limit{90};
constexpr int most_failures = 2;

/// Bytes and microseconds to GB/s.
double rate(double bytes, double us) {
  return bytes / us / 1e3;
}

/// How many runs fit in.
std::size_t affordable(std::size_t runs, double gigabytes, double rate) {
  const auto us = gigabytes / rate * 1e6;
  return std::clamp<std::size_t>(static_cast<std::size_t>(us_limit / us), 1, runs);
}

} // namespace

gpu_places find_gpus() {
  return {0, gpu_count() > 1 ? 1 : 0};
}

std::string to_string(const gpu_places& places) {
  const auto name = [](int ordinal) { return examples::value_of(describe_gpu(ordinal)).name; };
  if (places.context == places.generation)
    return fmt::format("ONE GPU ONLY: both ranks on GPU {} ({}); there is no link between them, "
                       "so targets mean nothing",
                       places.context, name(places.context));
  return fmt::format("context rank on GPU {} ({}), generation rank on GPU {} ({})", places.context,
                     name(places.context), places.generation, name(places.generation));
}

gpu_pair::gpu_pair()
    : context_{"context", gpu_start(instance_role::context, find_gpus().context)},
      generation_{"generation", gpu_start(instance_role::generation, find_gpus().generation)} {
}

void gpu_pair::set_up(const gpu_setup& setup, const plane_options& options) {
  const json wanted{{"cache", setup}, {"options", to_json_value(options)}};
  context_.tell("set_up", wanted);
  generation_.tell("set_up", wanted);
  static_cast<void>(context_.answer());
  static_cast<void>(generation_.answer());
  context_.ask("introduce", generation_.ask("describe"));
  const auto choice = generation_.ask("introduce", context_.ask("describe"));
  lane_ = fmt::format("lane {}: {}", choice.at("lane").get<std::string>(),
                      choice.at("reason").get<std::string>());
  generation_.ask("accept", context_.ask("grant"));
  bytes_ = setup.bytes();
}

double gpu_pair::pull() {
  const auto done = generation_.ask("pull");
  if (const auto moved = done.at("bytes").get<std::uint64_t>(); moved != bytes_)
    throw std::runtime_error{fmt::format("{} bytes were pulled instead of {}", moved, bytes_)};
  fragments_ = done.at("fragments").get<std::uint64_t>();
  return rate(static_cast<double>(bytes_), done.at("us").get<double>());
}

void gpu_pair::prepare() {
  generation_.ask("prepare");
}

void gpu_pair::check() {
  context_.check();
  generation_.check();
}

void gpu_pair::lend(std::size_t bytes) {
  generation_.ask("borrow", context_.ask("lend", bytes));
  lent_ = true;
}

double gpu_pair::copy(const std::string& how, std::size_t fragment, std::size_t count) {
  const auto us = generation_.ask("copy", {{"how", how}, {"fragment", fragment}, {"count", count}});
  return rate(static_cast<double>(fragment * count), us.get<double>());
}

double gpu_pair::copy_contiguous(std::uint64_t bytes) {
  return copy("contiguous", bytes, 1);
}

double gpu_pair::copy_fragments(const std::string& how, std::size_t fragment, std::size_t count) {
  return copy(how, fragment, count);
}

void gpu_pair::end() {
  generation_.end();
  context_.end();
}

turns measure_turns(gpu_pair& ranks, const gpu_setup& setup, const plane_options& options,
                    const settings& how) {
  ranks.set_up(setup, options);
  turns out;
  const auto gigabytes = static_cast<double>(setup.bytes()) / 1e9;
  const auto runs = affordable(how.runs, gigabytes, ranks.pull());
  ranks.prepare();
  static_cast<void>(ranks.pull());
  if (ranks.lent())
    static_cast<void>(ranks.copy_contiguous(setup.bytes()));
  for (std::size_t i = 0; i < runs; ++i) {
    if (ranks.lent())
      out.contiguous.push_back(ranks.copy_contiguous(setup.bytes()));
    out.pull.push_back(ranks.pull());
  }
  ranks.check();
  return out;
}

gpu_parts::gpu_parts(findings& found, std::size_t lent)
    : found_{found}, lent_{lent}, deadline_{std::chrono::steady_clock::now() + case_limit} {
  found_.notes.push_back(to_string(find_gpus()));
}

bool gpu_parts::go_on(const std::string& name) {
  if (failures_ >= most_failures)
    return false;
  if (std::chrono::steady_clock::now() < deadline_)
    return true;
  found_.problems.push_back(name + ": left out, the case has taken too long");
  return false;
}

gpu_pair& gpu_parts::ranks() {
  if (!ranks_) {
    ranks_ = std::make_unique<gpu_pair>();
    if (lent_ > 0)
      ranks_->lend(lent_);
  }
  return *ranks_;
}

void gpu_parts::give_up(const std::string& name, const std::string& why) {
  found_.problems.push_back(fmt::format("{}: {}", name, why));
  ranks_.reset();
  if (++failures_ >= most_failures)
    found_.problems.push_back("what is left of the case is left out");
}

void gpu_parts::end() {
  if (ranks_)
    std::exchange(ranks_, nullptr)->end();
}

} // namespace baton::bench
