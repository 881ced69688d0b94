#include "transport/fake_plane.hpp"

#include <algorithm>

#include "transport/plan/block_tables.hpp"

namespace baton {

namespace {

/// How often an event that is not complete is looked at.
constexpr std::chrono::microseconds look_again{100};

/// The blocks of tokens `[begin, end)` of a table or a tail that starts at `first`: one a token.
void pair_up(std::vector<slot_pair>& pairs, const std::vector<std::uint32_t>& source,
             std::uint32_t source_first, const std::vector<std::uint32_t>& destination,
             std::uint32_t destination_first, token_range tokens) {
  for (auto token = tokens.begin; token < tokens.end; ++token)
    pairs.push_back({source.at(token - source_first), destination.at(token - destination_first)});
}

/// All pairs of one range: beam 0, then what the other beams have of their own.
std::vector<slot_pair> pairs_of(const group_range& range, const group_blocks& source,
                                const group_blocks& destination) {
  std::vector<slot_pair> pairs;
  pair_up(pairs, source.blocks, source.first_block_token, destination.blocks,
          destination.first_block_token, range.tokens);
  for (std::size_t i = 0; i < range.tails.size(); ++i) {
    const auto& from = source.tails.at(i);
    const auto& to = destination.tails.at(i);
    const auto begin = std::max(range.tokens.begin, to.first_block_token);
    pair_up(pairs, source.blocks, source.first_block_token, to.blocks, to.first_block_token,
            {begin, std::min(range.tokens.end, from.first_block_token)});
    pair_up(pairs, from.blocks, from.first_block_token, to.blocks, to.first_block_token,
            {std::max(begin, from.first_block_token), range.tokens.end});
  }
  return pairs;
}

} // namespace

void fake_world::after(clock::duration delay, std::function<void()> action) {
  events_.push({now_ + delay, order_++, std::move(action)});
}

bool fake_world::run(clock::time_point until) {
  while (!events_.empty()) {
    if (events_.top().when > until) {
      now_ = until;
      return false;
    }
    auto action = std::move(const_cast<event&>(events_.top()).action);
    now_ = events_.top().when;
    events_.pop();
    action();
  }
  return true;
}

std::uint64_t fake_world::pick(std::uint64_t low, std::uint64_t high) {
  return low + random_() % (high - low + 1);
}

bool fake_world::chance(double probability) {
  return static_cast<double>(random_() >> 11) * 0x1p-53 < probability;
}

fake_world::clock::duration fake_world::delay(std::chrono::microseconds most) {
  return std::chrono::microseconds{pick(0, static_cast<std::uint64_t>(most.count()))};
}

fake_plane::fake_plane(fake_fabric& fabric, incarnation life) : fabric_{fabric}, life_{life} {
  fabric_.planes.emplace(life, this);
}

fake_plane::~fake_plane() {
  fabric_.planes.erase(life_);
}

std::uint64_t fake_plane::block(const std::string& group, std::uint32_t id,
                                std::uint32_t layer) const {
  const auto found = blocks_.find({group, id, layer});
  return found == blocks_.end() ? 0 : found->second;
}

void fake_plane::write(const std::string& group, std::uint32_t id, std::uint64_t number,
                       std::uint32_t layer) {
  blocks_[{group, id, layer}] = number;
}

void fake_plane::die() {
  dead_ = true;
  jobs_.clear();
  waits_.clear();
  retiring_.clear();
}

void fake_plane::introduce(peer_card, std::function<void(expected<lane_choice>)> done) {
  fabric_.world.after(fabric_.world.delay(fabric_.faults.longest_step), [done = std::move(done)] {
    done(lane_choice{lane_kind::mapped, "simulated"});
  });
}

void fake_plane::forget(incarnation) {
}

expected<lease> fake_plane::grant(session_key owner, grant_spec) {
  if (retired_.contains(owner))
    return fail(errc::cancelled, "the session has retired");
  if (fabric_.world.chance(fabric_.faults.grant_failure))
    return fail(errc::out_of_resources, "all simulated leases are in use");
  std::uint32_t slot = 0;
  while (slot < words_.size() && words_[slot] % 2 == 1)
    ++slot;
  if (slot == words_.size()) {
    words_.push_back(0);
    holders_.emplace_back();
  }
  holders_[slot] = owner;
  return lease{life_, slot, ++words_[slot]};
}

void fake_plane::revoke(const lease& right) {
  if (valid(right))
    ++words_[right.slot];
}

bool fake_plane::valid(const lease& right) const {
  return right.owner == life_ && right.slot < words_.size() && words_[right.slot] == right.epoch;
}

void fake_plane::pull(session_key owner, pull_job work,
                      std::function<void(expected<pull_stats>)> done) {
  if (retired_.contains(owner))
    return fabric_.world.after(
        {}, [done = std::move(done)] { done(fail(errc::cancelled, "the session has retired")); });
  job entry{owner, std::move(work), {}, 0, std::move(done), false};
  for (std::size_t i = 0; i < entry.what.ranges.size(); ++i)
    add_steps(entry, entry.what.ranges[i], entry.what.source_blocks[i]);
  const auto id = ++last_job_;
  jobs_.emplace(id, std::move(entry));
  fabric_.world.after(fabric_.world.delay(fabric_.faults.longest_step), [this, id] { step(id); });
}

void fake_plane::add_steps(job& to, const group_range& range, const group_blocks& source) const {
  static const std::vector<std::uint32_t> one{0};
  const auto layers = fabric_.layers.find(range.group);
  const auto pairs = pairs_of(range, source, *find_table(to.what.destination_blocks, range.group));
  for (const auto layer : layers == fabric_.layers.end() ? one : layers->second)
    if (range.layers.contains(layer))
      for (const auto& pair : pairs)
        to.steps.push_back({range.group, layer, pair});
}

void fake_plane::when(session_key owner, gpu_event_ref event,
                      std::function<void(expected<>)> done) {
  if (retired_.contains(owner))
    return fabric_.world.after(
        {}, [done = std::move(done)] { done(fail(errc::cancelled, "the session has retired")); });
  const auto id = ++last_job_;
  waits_.emplace(id, wait{owner, static_cast<const fake_event*>(event.handle), std::move(done)});
  look(id);
}

void fake_plane::look(std::uint64_t id) {
  const auto found = waits_.find(id);
  if (found == waits_.end())
    return;
  const auto* event = found->second.event;
  if (event != nullptr && !event->complete && !event->failed)
    return fabric_.world.after(look_again, [this, id] { look(id); });
  const auto done = std::move(waits_.extract(id).mapped().done);
  if (event != nullptr && event->failed)
    return done(fail(errc::gpu_failed, "simulated"));
  done({});
}

void fake_plane::step(std::uint64_t id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end())
    return;
  auto& entry = found->second;
  const auto* after = static_cast<const fake_event*>(entry.what.after.handle);
  const auto source = fabric_.planes.find(entry.what.source);
  if (entry.cancelled)
    return finish(id, fail(errc::cancelled, "the session was retired"));
  if (after != nullptr && after->failed)
    return finish(id, fail(errc::gpu_failed, "simulated"));
  if (after != nullptr && !after->complete)
    return fabric_.world.after(look_again, [this, id] { step(id); });
  if (source == fabric_.planes.end())
    return finish(id, fail(errc::peer_lost, "the source is not in the simulation"));
  if (fabric_.world.chance(fabric_.faults.pull_failure))
    return finish(id, fail(errc::transport_failed, "simulated"));
  if (entry.at < entry.steps.size()) {
    const auto& [group, layer, pair] = entry.steps[entry.at++];
    write(group, pair.destination, source->second->block(group, pair.source, layer), layer);
    fabric_.world.after(fabric_.world.delay(fabric_.faults.longest_step), [this, id] { step(id); });
    return;
  }
  if (!source->second->valid(entry.what.right))
    return finish(id, fail(errc::lease_revoked, "the source took its blocks back"));
  pull_stats stats;
  stats.bytes = stats.fragments = entry.steps.size();
  stats.templates = 1;
  stats.lane = {lane_kind::mapped, "simulated"};
  finish(id, std::move(stats));
}

void fake_plane::finish(std::uint64_t id, expected<pull_stats> result) {
  auto node = jobs_.extract(id);
  const auto owner = node.mapped().owner;
  node.mapped().done(std::move(result));
  const bool more = std::any_of(jobs_.begin(), jobs_.end(),
                                [&](const auto& entry) { return entry.second.owner == owner; });
  if (more)
    return;
  if (auto waiting = retiring_.extract(owner))
    for (auto& done : waiting.mapped())
      done();
}

void fake_plane::retire(session_key owner, std::function<void()> done) {
  retired_.insert(owner);
  for (std::size_t slot = 0; slot < words_.size(); ++slot)
    if (words_[slot] % 2 == 1 && holders_[slot] == owner)
      ++words_[slot];
  std::vector<wait> cancelled;
  for (auto& [id, entry] : waits_)
    if (entry.owner == owner)
      cancelled.push_back(std::move(entry));
  std::erase_if(waits_, [](const auto& item) { return !item.second.done; });
  for (auto& entry : cancelled)
    entry.done(fail(errc::cancelled, "the session was retired"));
  bool running = false;
  for (auto& [id, entry] : jobs_)
    if (entry.owner == owner)
      running = entry.cancelled = true;
  if (running)
    retiring_[owner].push_back(std::move(done));
  else
    fabric_.world.after({}, [this, done = std::move(done)] {
      if (!dead_)
        done();
    });
}

std::size_t fake_plane::granted() const noexcept {
  return static_cast<std::size_t>(
      std::count_if(words_.begin(), words_.end(), [](auto word) { return word % 2 == 1; }));
}

} // namespace baton
