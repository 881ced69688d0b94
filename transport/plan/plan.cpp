#include "transport/plan/plan.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <numeric>
#include <utility>

namespace baton {

namespace {

/// Templates beyond this many runs in all are forgotten: ragged ends come in very many shapes.
constexpr std::size_t max_remembered_runs = 1u << 20;

/// Steps in bytes from one head, or one token, to the next.
struct axis {
  std::uint64_t count = 1;
  std::uint64_t source = 0;
  std::uint64_t destination = 0;

  [[nodiscard]] bool continues(std::uint64_t read, std::uint64_t written) const noexcept {
    return count == 1 || (source == read && destination == written);
  }
};

/// Collects what is contiguous on both sides for one template.
class run_collector {
public:
  /// Adds the rows of one pair of buffers, in the destination's address order.
  void add(const run_lane& lane, run first, axis heads, axis tokens) {
    first.lane = lane_index(lane);
    if (continues(tokens, first))
      return add_joined(first, tokens, heads);
    if (continues(heads, first))
      return add_joined(first, heads, tokens);
    if (heads.destination < tokens.destination)
      std::swap(heads, tokens);
    for (std::uint64_t i = 0; i < heads.count; ++i)
      add_rows(stepped(first, heads, i), tokens);
  }

  [[nodiscard]] std::shared_ptr<const run_template> finish() && {
    constexpr auto address = [](const run& item) { return std::pair{item.lane, item.destination}; };
    if (!std::ranges::is_sorted(runs_, {}, address))
      std::ranges::sort(runs_, {}, address);
    auto result = std::make_shared<run_template>();
    result->runs = merged();
    result->lanes = std::move(lanes_);
    for (const auto& lane : result->lanes)
      if (lane.as.needed())
        result->grain = std::max(result->grain, size_of(lane.as.from));
    result->prefix.reserve(result->runs.size() + 1);
    result->prefix.push_back(0);
    for (const auto& item : result->runs)
      result->prefix.push_back(result->prefix.back() + item.bytes);
    result->bytes = result->prefix.back();
    return result;
  }

private:
  using lane_key = std::array<std::uint64_t, 6>;

  [[nodiscard]] std::uint64_t written(const run& item) const noexcept {
    return lanes_[item.lane].as.written(item.bytes);
  }

  [[nodiscard]] bool continues(const axis& along, const run& item) const noexcept {
    return along.continues(item.bytes, written(item));
  }

  static run stepped(run item, const axis& along, std::uint64_t index) {
    item.source += along.source * index;
    item.destination += along.destination * index;
    return item;
  }

  void add_joined(run first, const axis& inner, const axis& outer) {
    first.bytes *= inner.count;
    if (!continues(outer, first))
      return add_rows(first, outer);
    first.bytes *= outer.count;
    runs_.push_back(first);
  }

  void add_rows(const run& first, const axis& along) {
    for (std::uint64_t i = 0; i < along.count; ++i)
      runs_.push_back(stepped(first, along, i));
  }

  std::uint32_t lane_index(const run_lane& lane) {
    const auto types =
        static_cast<std::uint64_t>(lane.as.from) << 8 | static_cast<std::uint64_t>(lane.as.to);
    const lane_key key{lane.source_pool,
                       lane.destination_pool,
                       lane.source_stride,
                       lane.destination_stride,
                       types,
                       std::bit_cast<std::uint32_t>(lane.as.factor)};
    const auto [found, added] =
        lane_numbers_.try_emplace(key, static_cast<std::uint32_t>(lanes_.size()));
    if (added)
      lanes_.push_back(lane);
    return found->second;
  }

  std::vector<run> merged() const {
    std::vector<run> result;
    for (const auto& item : runs_) {
      if (!result.empty()) {
        auto& last = result.back();
        if (last.lane == item.lane && last.source + last.bytes == item.source &&
            last.destination + written(last) == item.destination) {
          last.bytes += item.bytes;
          continue;
        }
      }
      result.push_back(item);
    }
    return result;
  }

  std::vector<run_lane> lanes_;
  std::map<lane_key, std::uint32_t> lane_numbers_;
  std::vector<run> runs_;
};

/// What becomes of the elements of one head.
element_conversion conversion_of(const buffer_layout& from, const buffer_layout& to,
                                 std::uint32_t head) {
  if (from.type == to.type)
    return {};
  return {from.type, to.type, 1.0f / to.scale_of(head)};
}

/// Returns how many heads from `head` on, and before `end`, are converted alike.
std::uint32_t alike(const buffer_layout& from, const buffer_layout& to, std::uint32_t head,
                    std::uint32_t end) {
  if (from.type == to.type || to.scales.size() < 2)
    return end - head;
  auto next = head + 1;
  while (next < end && to.scale_of(next) == to.scale_of(head))
    ++next;
  return next - head;
}

/// State groups have one slot a request: a block of one token.
std::uint32_t block_tokens(const group_layout& group) {
  return std::max(group.tokens_per_block, 1u);
}

/// Every `step`-th block id of a table.
struct strided_ids {
  const std::uint32_t* first = nullptr;
  std::ptrdiff_t step = 0;
};

/// The block table of one side of one group, or of a beam's tail there.
struct side_blocks {
  std::string_view side;
  std::uint32_t tokens_per_block = 1;
  std::uint64_t slots = 0;
  bool known = false; ///< whether there are blocks at all
  std::uint32_t first_token = 0;
  std::span<const std::uint32_t> blocks{};
  std::size_t beam = 0; ///< whose tail it is; 0: the table

  /// Returns the ids of the blocks that hold `token`, `token + period` and so on; zeros where none
  /// are known.
  [[nodiscard]] strided_ids every(std::uint64_t period, std::uint64_t token) const noexcept {
    static constexpr std::uint32_t zero = 0;
    return known ? strided_ids{at(token), static_cast<std::ptrdiff_t>(period / tokens_per_block)}
                 : strided_ids{&zero, 0};
  }

  [[nodiscard]] expected<> check(std::string_view group, token_range tokens) const {
    if (!known)
      return {};
    if (first_token % tokens_per_block != 0)
      return fail(errc::invalid_argument,
                  "group \"{}\": the {}'s first token {} is not a multiple of its {} tokens "
                  "per block",
                  group, name(), first_token, tokens_per_block);
    const auto end = first_token + blocks.size() * tokens_per_block;
    if (tokens.begin < first_token || tokens.end > end)
      return fail(errc::invalid_argument,
                  "group \"{}\": the {} covers tokens [{}, {}), wanted are [{}, {})", group, name(),
                  first_token, end, tokens.begin, tokens.end);
    return check_ids(group, {at(tokens.begin), at(tokens.end - 1) + 1});
  }

private:
  [[nodiscard]] std::string name() const {
    return beam == 0 ? fmt::format("{} table", side)
                     : fmt::format("{} tail of beam {}", side, beam);
  }

  [[nodiscard]] const std::uint32_t* at(std::uint64_t token) const noexcept {
    return blocks.data() + (token - first_token) / tokens_per_block;
  }

  [[nodiscard]] expected<> check_ids(std::string_view group,
                                     std::span<const std::uint32_t> ids) const {
    // No id in range, and no limit, has the top bit; a difference below zero has it. Vectorizes
    // better than max.
    const auto limit = static_cast<std::uint32_t>(slots - 1);
    std::uint32_t signs = 0;
    for (auto id : ids)
      signs |= id | (limit - id);
    if (signs >> 31 == 0)
      return {};
    const auto bad = std::ranges::find_if(ids, [&](std::uint32_t id) { return id >= slots; });
    const auto block = static_cast<std::uint64_t>(&*bad - blocks.data());
    return fail(errc::invalid_argument,
                "group \"{}\": {} block {} at token {} is out of range: the pool has {} slots",
                group, side, *bad, first_token + block * tokens_per_block, slots);
  }
};

/// All blocks of one side of one group: what beam 0 has and the others share, and their tails.
class side_beams {
public:
  /// @param table may be null; then the tails begin as `tails` says.
  side_beams(side_blocks side, const group_blocks* table, std::span<const std::uint32_t> tails)
      : side_{side}, table_{table}, tails_{tails} {
    side_.known = table != nullptr;
  }

  [[nodiscard]] std::size_t tails() const noexcept {
    return table_ ? table_->tails.size() : tails_.size();
  }
  [[nodiscard]] side_blocks shared() const noexcept {
    auto result = side_;
    if (table_) {
      result.first_token = table_->first_block_token;
      result.blocks = table_->blocks;
    }
    return result;
  }
  /// @param beam from 1 to `tails()`.
  [[nodiscard]] side_blocks tail(std::size_t beam) const noexcept {
    auto result = side_;
    result.beam = beam;
    result.first_token = table_ ? table_->tails[beam - 1].first_block_token : tails_[beam - 1];
    if (table_)
      result.blocks = table_->tails[beam - 1].blocks;
    return result;
  }

private:
  side_blocks side_;
  const group_blocks* table_;
  std::span<const std::uint32_t> tails_;
};

/// Pairs the ids of two tables, in a form that a vector takes in at once, without zeroing its
/// memory first. Steps known when compiling (0 = not known) let the copy be vectorized.
template <std::ptrdiff_t SourceStep, std::ptrdiff_t DestinationStep>
class pair_iterator {
public:
  using iterator_category = std::random_access_iterator_tag;
  using value_type = slot_pair;
  using difference_type = std::ptrdiff_t;
  using pointer = void;
  using reference = slot_pair;

  pair_iterator(strided_ids source, strided_ids destination, std::size_t index) noexcept
      : source_{source}, destination_{destination}, index_{static_cast<difference_type>(index)} {}

  slot_pair operator*() const noexcept {
    return {at<SourceStep>(source_), at<DestinationStep>(destination_)};
  }
  pair_iterator& operator++() noexcept { return *this += 1; }
  pair_iterator& operator--() noexcept { return *this += -1; }
  pair_iterator& operator+=(difference_type count) noexcept {
    index_ += count;
    return *this;
  }
  friend difference_type operator-(const pair_iterator& a, const pair_iterator& b) noexcept {
    return a.index_ - b.index_;
  }
  friend bool operator==(const pair_iterator& a, const pair_iterator& b) noexcept {
    return a.index_ == b.index_;
  }

private:
  template <std::ptrdiff_t Step>
  [[nodiscard]] std::uint32_t at(const strided_ids& ids) const noexcept {
    return ids.first[index_ * (Step == 0 ? ids.step : Step)];
  }

  strided_ids source_;
  strided_ids destination_;
  difference_type index_;
};

template <std::ptrdiff_t SourceStep = 0, std::ptrdiff_t DestinationStep = 0>
void append(std::vector<slot_pair>& pairs, std::size_t count, const strided_ids& source,
            const strided_ids& destination) {
  using iterator = pair_iterator<SourceStep, DestinationStep>;
  pairs.insert(pairs.end(), iterator{source, destination, 0}, iterator{source, destination, count});
}

} // namespace

/// Cuts one group's tokens where a block of either side ends, and sorts the pieces by their shape.
///
/// The cuts repeat after the least common multiple of the block sizes, and within that period no
/// shape occurs twice: so all whole periods are planned together, piece by piece. The beams of a
/// request are cut alike, so their tails share the shapes.
class planner::group_walk {
public:
  /// @param key of the group and its layers; they must not be empty.
  group_walk(const planner& owner, const shape_key& key) : owner_{owner}, key_{key} {}

  /// Checks and takes in the tokens that lie in these blocks.
  expected<> add(const side_blocks& source, const side_blocks& destination, token_range tokens) {
    if (tokens.empty())
      return {};
    if (auto ok = source.check(owner_.groups_[key_.group], tokens); !ok)
      return ok;
    if (auto ok = destination.check(owner_.groups_[key_.group], tokens); !ok)
      return ok;
    source_ = source;
    destination_ = destination;
    const auto period =
        std::lcm<std::uint64_t>(source_.tokens_per_block, destination_.tokens_per_block);
    const std::uint64_t end = tokens.end;
    const auto low = std::min((tokens.begin + period - 1) / period * period, end);
    const auto high = std::max(end / period * period, low);
    walk(tokens.begin, low, 1, period);
    if (high > low)
      walk(low, low + period, (high - low) / period, period);
    walk(high, end, 1, period);
    return {};
  }

  /// The beam's own tokens of a range: before the source's tail begins, they are beam 0's there.
  expected<> add_tail(const side_beams& source, const side_beams& destination, std::size_t beam,
                      token_range tokens) {
    const auto from = source.tail(beam);
    const auto to = destination.tail(beam);
    const auto begin = std::max(tokens.begin, to.first_token);
    if (auto ok = add(source.shared(), to, {begin, std::min(tokens.end, from.first_token)}); !ok)
      return ok;
    return add(from, to, {std::max(begin, from.first_token), tokens.end});
  }

  void add_to(plan& out) {
    for (auto& item : shapes_)
      add_part(out, item);
  }

private:
  struct shaped_pairs {
    shape_key key;
    std::vector<slot_pair> pairs;
  };

  void walk(std::uint64_t token, std::uint64_t end, std::size_t times, std::uint64_t period) {
    while (token < end) {
      const auto in_source = token % source_.tokens_per_block;
      const auto in_destination = token % destination_.tokens_per_block;
      const auto count = std::min({source_.tokens_per_block - in_source,
                                   destination_.tokens_per_block - in_destination, end - token});
      auto& pairs = pairs_of(
          {key_.group, key_.first_part, key_.end_part, static_cast<std::uint32_t>(in_source),
           static_cast<std::uint32_t>(in_destination), static_cast<std::uint32_t>(count)});
      const auto source = source_.every(period, token);
      const auto destination = destination_.every(period, token);
      // Equal block sizes, and one twice the other, are what engines use.
      if (source.step == 1 && destination.step == 1)
        append<1, 1>(pairs, times, source, destination);
      else if (source.step == 2 && destination.step == 1)
        append<2, 1>(pairs, times, source, destination);
      else if (source.step == 1 && destination.step == 2)
        append<1, 2>(pairs, times, source, destination);
      else
        append(pairs, times, source, destination);
      token += count;
    }
  }

  std::vector<slot_pair>& pairs_of(const shape_key& key) {
    const auto [found, added] = numbers_.try_emplace(key, shapes_.size());
    if (added)
      shapes_.push_back({key, {}});
    return shapes_[found->second].pairs;
  }

  void add_part(plan& out, shaped_pairs& item) const {
    auto shape = owner_.shape(item.key);
    out.bytes += shape->bytes * item.pairs.size();
    out.fragments += shape->runs.size() * item.pairs.size();
    out.parts.push_back({std::move(shape), std::move(item.pairs)});
  }

  const planner& owner_;
  shape_key key_;
  side_blocks source_;
  side_blocks destination_;
  std::vector<shaped_pairs> shapes_; ///< in order of first appearance
  std::unordered_map<shape_key, std::size_t, shape_hash> numbers_;
};

std::size_t planner::shape_hash::operator()(const shape_key& key) const noexcept {
  std::uint64_t hash = 0;
  for (std::uint64_t value : {key.group, key.first_part, key.end_part, key.source_token,
                              key.destination_token, key.tokens})
    hash = (hash ^ value) * 0x9E3779B97F4A7C15 + (hash >> 29);
  return hash;
}

planner::planner(rank_layout source, rank_layout destination, rank_pair pair)
    : source_{std::move(source)}, destination_{std::move(destination)}, pair_{std::move(pair)} {
  const std::span<const head_part> parts = pair_.parts;
  for (auto first = parts.begin(); first != parts.end();) {
    const auto last = std::find_if(first, parts.end(), [&](const head_part& part) {
      return part.destination_group != first->destination_group;
    });
    groups_.push_back(destination_.groups[first->destination_group].name);
    moved_.push_back(describe({first, last}));
    first = last;
  }
}

planner::moved_group planner::describe(std::span<const head_part> parts) const {
  const auto& from = source_.groups[parts.front().source_group];
  const auto& to = destination_.groups[parts.front().destination_group];
  moved_group result{block_tokens(from), block_tokens(to), UINT64_MAX, UINT64_MAX, parts};
  for (const auto& part : parts) {
    const auto source_pool = from.buffers[part.source_buffer].pool;
    const auto destination_pool = to.buffers[part.destination_buffer].pool;
    result.source_slots = std::min(result.source_slots, source_.pools[source_pool].slots);
    result.destination_slots =
        std::min(result.destination_slots, destination_.pools[destination_pool].slots);
  }
  return result;
}

planner::shape_key planner::key_of(std::uint32_t group, layer_range layers) const {
  const auto parts = moved_[group].parts;
  const auto layer_of = [&](const head_part& part) {
    return destination_.groups[part.destination_group].buffers[part.destination_buffer].layer;
  };
  const auto place = [&](auto found) { return static_cast<std::uint32_t>(found - parts.begin()); };
  const auto end = layers.end == layer_range::no_end
                       ? parts.end()
                       : std::ranges::lower_bound(parts, layers.end, {}, layer_of);
  return {group, place(std::ranges::lower_bound(parts, layers.begin, {}, layer_of)), place(end)};
}

std::shared_ptr<const run_template> planner::shape(const shape_key& key) const {
  {
    const std::lock_guard lock{mutex_};
    if (const auto found = shapes_.find(key); found != shapes_.end())
      return found->second;
  }
  auto built = build(key);
  const std::lock_guard lock{mutex_};
  if (remembered_runs_ + built->runs.size() > max_remembered_runs) {
    shapes_.clear();
    remembered_runs_ = 0;
  }
  const auto [found, added] = shapes_.try_emplace(key, built);
  if (added)
    remembered_runs_ += built->runs.size();
  return found->second;
}

std::shared_ptr<const run_template> planner::build(const shape_key& key) const {
  run_collector runs;
  for (auto part : moved_[key.group].parts.subspan(key.first_part, key.end_part - key.first_part)) {
    const auto& from = source_.groups[part.source_group].buffers[part.source_buffer];
    const auto& to = destination_.groups[part.destination_group].buffers[part.destination_buffer];
    const auto start = [&](const buffer_layout& buffer, std::uint32_t token) {
      return buffer.offset + (part.first_head - buffer.first_head) * buffer.head_stride +
             token * buffer.token_stride;
    };
    const auto end_head = part.first_head + part.head_count;
    for (; part.first_head < end_head; part.first_head += part.head_count) {
      part.head_count = alike(from, to, part.first_head, end_head);
      runs.add(
          {from.pool, to.pool, from.slot_stride, to.slot_stride,
           conversion_of(from, to, part.first_head)},
          {start(from, key.source_token), start(to, key.destination_token), from.row_bytes(), 0},
          {part.head_count, from.head_stride, to.head_stride},
          {key.tokens, from.token_stride, to.token_stride});
    }
  }
  return std::move(runs).finish();
}

expected<> planner::add_group(plan& out, std::uint32_t group, const plan_blocks& blocks) const {
  const auto key = key_of(group, blocks.layers);
  if (blocks.tokens.empty() || key.first_part >= key.end_part)
    return {};
  const auto& moved = moved_[group];
  const side_beams source{
      {"source", moved.source_tokens, moved.source_slots}, blocks.source, blocks.source_tails};
  const side_beams destination{{"destination", moved.destination_tokens, moved.destination_slots},
                               blocks.destination,
                               blocks.destination_tails};
  if (source.tails() != destination.tails())
    return fail(errc::invalid_argument,
                "group \"{}\": the source has {} beams, the destination {}; give both as many",
                groups_[group], source.tails() + 1, destination.tails() + 1);
  group_walk walk{*this, key};
  if (auto ok = walk.add(source.shared(), destination.shared(), blocks.tokens); !ok)
    return ok;
  for (std::size_t beam = 1; beam <= source.tails(); ++beam)
    if (auto ok = walk.add_tail(source, destination, beam, blocks.tokens); !ok)
      return ok;
  walk.add_to(out);
  return {};
}

expected<plan> planner::make(std::span<const plan_blocks> blocks) const {
  plan result;
  for (std::uint32_t group = 0; group < groups_.size(); ++group) {
    const plan_blocks* given = nullptr;
    for (const auto& item : blocks) {
      if (item.group != groups_[group])
        continue;
      if (given != nullptr)
        return fail(errc::invalid_argument, "group \"{}\" is given twice", groups_[group]);
      given = &item;
    }
    if (given == nullptr)
      continue;
    if (auto ok = add_group(result, group, *given); !ok)
      return fail(std::move(ok.error()));
  }
  return result;
}

} // namespace baton
