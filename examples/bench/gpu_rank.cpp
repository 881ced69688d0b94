#include "examples/bench/gpu_rank.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "examples/bench/plane_card.hpp"
#include "examples/support/value_of.hpp"

namespace baton::bench {

namespace {

using examples::value_of;
using nlohmann::json;

constexpr session_key session{1};

json to_json_value(const pulled& what) {
  return {{"us", what.us}, {"bytes", what.bytes}, {"fragments", what.fragments}};
}

} // namespace

json gpu_start(instance_role role, int device) {
  return {{"kind", "gpu"}, {"role", role}, {"gpu", device}};
}

gpu_rank::gpu_rank(const json& start)
    : role_{start.at("role").get<instance_role>()}, memory_{start.at("gpu").get<int>()} {
}

json gpu_rank::answer(const std::string& verb, const json& arguments) {
  json result;
  if (verb == "set_up")
    set_up(arguments);
  else if (verb == "describe")
    result = bench::describe(cache_->layout(), *plane_);
  else if (verb == "introduce")
    result = introduce(arguments);
  else if (verb == "grant")
    result = grant();
  else if (verb == "accept")
    accept(arguments);
  else if (verb == "pull")
    result = to_json_value(pulls_.value().run());
  else if (verb == "prepare")
    cache_->prepare(*plane_);
  else if (verb == "check")
    result = cache_->wrong_bytes(*plane_);
  else if (verb == "lend")
    result = lend(arguments.get<std::size_t>());
  else if (verb == "borrow")
    borrow(arguments);
  else if (verb == "copy")
    result = copy(arguments);
  else if (verb == "load")
    result = load(arguments);
  else if (verb == "keep_pulling")
    keep_pulling();
  else if (verb == "stop_pulling")
    result = stop_pulling();
  else
    throw std::invalid_argument{"a GPU rank cannot " + verb};
  return result;
}

void gpu_rank::set_up(const json& arguments) {
  loop_.reset();
  pulls_.reset();
  plane_.reset();
  cache_.reset();
  cache_ = std::make_unique<gpu_cache>(arguments.at("cache").get<gpu_setup>(), role_, memory_);
  plane_ = value_of(rank_plane::create(cache_->layout().life, cache_->layout(),
                                       cache_->make_pools(), options_of(arguments.at("options"))));
  cache_->prepare(*plane_);
}

json gpu_rank::introduce(const json& other) {
  auto peer = card_of(other);
  peer_ = peer.life;
  if (role_ == instance_role::generation)
    peer.pull = planner_of(cache_->setup(), peer.layout, cache_->layout());
  else
    peer.serve = planner_of(cache_->setup(), cache_->layout(), peer.layout);
  return bench::introduce(*plane_, std::move(peer));
}

json gpu_rank::grant() const {
  json rights = json::array();
  for (std::uint32_t request = 0; request < cache_->setup().requests; ++request) {
    const auto& blocks = cache_->blocks_of(request);
    const auto right = value_of(
        plane_->grant(session, {peer_, {{blocks.front().group, cache_->tokens()}}, blocks}));
    rights.push_back({{"slot", right.slot}, {"epoch", right.epoch}});
  }
  return rights;
}

void gpu_rank::accept(const json& granted) {
  std::vector<lease> rights;
  for (const auto& right : granted)
    rights.push_back(
        {peer_, right.at("slot").get<std::uint32_t>(), right.at("epoch").get<std::uint64_t>()});
  pulls_.emplace(*plane_, *cache_, std::move(rights));
}

json gpu_rank::lend(std::size_t bytes) {
  lent_.reset();
  lent_ = value_of(device_buffer::create(memory_.device(), bytes));
  const auto range = value_of(export_ipc(lent_->data(), bytes));
  std::string handle(range.handle.size(), '\0');
  std::ranges::transform(range.handle, handle.begin(),
                         [](std::byte byte) { return static_cast<char>(byte); });
  return {{"handle", to_array(handle)}, {"offset", range.offset}, {"bytes", range.bytes}};
}

void gpu_rank::borrow(const json& lent) {
  copies_.reset();
  const auto handle = from_array(lent.at("handle"));
  ipc_range range;
  if (handle.size() != range.handle.size())
    throw std::invalid_argument{"a memory handle of odd size"};
  std::ranges::transform(handle, range.handle.begin(),
                         [](char byte) { return static_cast<std::byte>(byte); });
  range.offset = lent.at("offset").get<std::uint64_t>();
  range.bytes = lent.at("bytes").get<std::uint64_t>();
  copies_.emplace(memory_.device(), range);
}

double gpu_rank::copy(const json& arguments) {
  auto& copies = copies_.value();
  const auto how = arguments.at("how").get<std::string>();
  const auto fragment = arguments.at("fragment").get<std::size_t>();
  const auto count = arguments.at("count").get<std::size_t>();
  if (how == "contiguous")
    return copies.contiguous(fragment * count);
  return how == "each" ? copies.each(fragment, count) : copies.batch(fragment, count);
}

json gpu_rank::load(const json& arguments) {
  if (!load_)
    load_ = std::make_unique<gpu_load>(memory_.device());
  return load_->run(arguments.at("kind").get<std::string>(),
                    arguments.at("samples").get<std::size_t>());
}

void gpu_rank::keep_pulling() {
  loop_ = std::make_unique<pull_loop>(pulls_.value());
}

json gpu_rank::stop_pulling() {
  if (!loop_)
    throw std::logic_error{"nothing is being pulled"};
  const auto loop = std::move(loop_);
  return to_json_value(loop->stop());
}

} // namespace baton::bench
