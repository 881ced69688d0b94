#include "examples/bench/plane_rank.hpp"

#include <cstring>
#include <span>
#include <stdexcept>
#include <thread>

#include "examples/bench/plane_card.hpp"
#include "examples/bench/statistics.hpp"
#include "examples/support/value_of.hpp"

namespace baton::bench {

namespace {

using examples::value_of;
using nlohmann::json;

constexpr session_key session{1};

/// Copies one large piece per thread.
void copy_in_pieces(std::span<std::byte> to, const std::byte* from, std::size_t threads) {
  std::vector<std::jthread> workers;
  for (std::size_t i = 0; i < threads; ++i) {
    const auto begin = to.size() * i / threads;
    const auto end = to.size() * (i + 1) / threads;
    workers.emplace_back([=] { std::memcpy(to.data() + begin, from + begin, end - begin); });
  }
}

} // namespace

json plane_start(instance_role role, const cache_setup& setup, const plane_options& options) {
  return {{"kind", "plane"}, {"role", role}, {"cache", setup}, {"options", to_json_value(options)}};
}

plane_rank::plane_rank(const json& start)
    : cache_{start.at("cache").get<cache_setup>(), start.at("role").get<instance_role>()},
      context_cache_{start.at("cache").get<cache_setup>(), instance_role::context},
      copy_threads_{options_of(start.at("options")).copy_threads},
      plane_{value_of(rank_plane::create(cache_.layout().life, cache_.layout(), cache_.make_pools(),
                                         options_of(start.at("options"))))} {
  cache_.prepare(*plane_);
}

json plane_rank::answer(const std::string& verb, const json& arguments) {
  if (verb == "describe")
    return bench::describe(cache_.layout(), *plane_);
  if (verb == "introduce")
    return introduce(arguments);
  if (verb == "grant")
    return grant();
  if (verb == "pull")
    return pull(arguments);
  if (verb == "copy")
    return copy();
  if (verb == "check")
    return cache_.wrong_bytes(*plane_);
  throw std::invalid_argument{"a plane rank cannot " + verb};
}

json plane_rank::introduce(const json& other) {
  auto peer = card_of(other);
  peer_ = peer.life;
  if (cache_.layout().role == instance_role::generation)
    peer.pull = planner_between(peer.layout, cache_.layout());
  else
    peer.serve = planner_between(cache_.layout(), peer.layout);
  return bench::introduce(*plane_, std::move(peer));
}

json plane_rank::grant() const {
  const auto& blocks = cache_.blocks_of(0);
  const auto right =
      value_of(plane_->grant(session, {peer_, {{blocks.front().group, cache_.tokens()}}, blocks}));
  return {{"slot", right.slot}, {"epoch", right.epoch}};
}

json plane_rank::pull(const json& granted) const {
  pull_job job;
  job.source = peer_;
  job.right = {peer_, granted.at("slot").get<std::uint32_t>(),
               granted.at("epoch").get<std::uint64_t>()};
  job.source_blocks = context_cache_.blocks_of(0);
  job.ranges = {{job.source_blocks.front().group, cache_.tokens()}};
  job.destination_blocks = cache_.blocks_of(0);
  const stopwatch watch;
  const auto stats = result_of<expected<pull_stats>>(
      [&](auto done) { plane_->pull(session, std::move(job), std::move(done)); });
  const auto us = watch.microseconds();
  return {{"us", us}, {"fragments", value_of(stats).fragments}};
}

double plane_rank::copy() {
  const auto to = plane_->pool(0).memory();
  if (!contiguous_)
    contiguous_ = value_of(host_pool::create(to.size()));
  const stopwatch watch;
  copy_in_pieces(to, contiguous_->data(), copy_threads_);
  return watch.microseconds();
}

} // namespace baton::bench
