#include "gpu/cuda/launcher.hpp"

#include <algorithm>

#include "gpu/cuda/convert_kernel.hpp"
#include "gpu/cuda/copy_kernel.hpp"
#include "gpu/cuda/error.hpp"
#include "gpu/cuda/launch_args.hpp"
#include "gpu/cuda/tuning.hpp"

namespace baton {
namespace {

constexpr std::uint64_t most_items = std::uint64_t{1} << 28; // of a stretch

} // namespace

expected<launcher> launcher::create(const copy_engine_options& options, abort_board& aborts,
                                    std::uint32_t first_word) {
  launcher made;
  made.options_ = options;
  made.aborts_ = &aborts;
  made.first_word_ = first_word;
  auto stream = gpu_stream::create(options.device);
  if (!stream)
    return fail(stream.error());
  made.stream_ = std::move(*stream);
  auto counter = device_buffer::create(options.device, sizeof(copy_counter));
  if (!counter)
    return fail(counter.error());
  made.counter_ = std::move(*counter);
  if (auto done =
          fill_async(made.counter_.data(), std::byte{0}, sizeof(copy_counter), made.stream_.ref());
      !done)
    return fail(done.error());
  auto ring = pair_ring::create(options.device, options.ring_pairs, tuning::launches_per_stream);
  if (!ring)
    return fail(ring.error());
  made.ring_ = std::move(*ring);
  for (std::uint32_t i = 0; i < tuning::launches_per_stream; ++i) {
    auto event = gpu_event::create(options.device);
    if (!event)
      return fail(event.error());
    made.ended_.push_back(std::move(*event));
  }
  return made;
}

expected<std::uint64_t> launcher::launch(const copy_order& order, std::uint64_t from,
                                         std::uint64_t tag) {
  if (flights_.size() == tuning::launches_per_stream ||
      bytes_ahead_of(tag) > tuning::most_bytes_ahead * options_.thread_blocks)
    return from;
  auto stretches = cut(order, from, copy_args::most_few);
  const bool few = stretches.back().end == order.end;
  if (!few) {
    // The first kernel starts soon, and each runs while more pairs are brought for the next. Half
    // of the ring, so that those find room.
    if (from == order.begin)
      piece_pairs_ = tuning::first_pairs;
    piece_pairs_ = std::min(piece_pairs_, std::max<std::uint64_t>(ring_.size() / 2, 1));
    stretches = cut(order, from, ring_.room(piece_pairs_));
    if (stretches.empty())
      return from;
    piece_pairs_ *= 2;
  }
  const std::uint64_t number = launches_ + 1;
  const auto place = static_cast<std::uint32_t>(number % tuning::launches_per_stream);
  copy_args args;
  args.begin = order.begin;
  args.end = order.end;
  args.buffer = order.buffer;
  args.counter = reinterpret_cast<copy_counter*>(counter_.data());
  args.abort = aborts_->word(first_word_ + place);
  args.launch = number;
  args.way = order.plan->parts().front().shape->way();
  const auto started = start(stretches, order, args, few, place);
  // The event is recorded even if a kernel did not start: another one of this piece may have. To
  // record it fails only with the whole context, in which nothing runs any more.
  if (auto recorded = ended_[place].record(stream_.ref()); !recorded)
    return fail(recorded.error());
  launches_ = number;
  flights_.push_back({tag, number, stretches.back().end - from, ring_.end(), place});
  if (!started)
    return fail(started.error());
  return stretches.back().end;
}

std::vector<launcher::stretch> launcher::cut(const copy_order& order, std::uint64_t from,
                                             std::uint64_t most_pairs) {
  std::vector<stretch> found;
  const auto starts = order.plan->starts();
  const auto after = std::ranges::upper_bound(starts, from) - starts.begin();
  for (auto part = static_cast<std::size_t>(after - 1);
       from < order.end && most_pairs > 0 && found.size() < copy_args::most_segments; ++part) {
    const copy_part& of = order.plan->parts()[part];
    const std::uint64_t pair_bytes = of.shape->bytes();
    const std::uint64_t first = (from - starts[part]) / pair_bytes;
    const std::uint64_t end = std::min(order.end, starts[part + 1]);
    const std::uint64_t wanted = (end - starts[part] + pair_bytes - 1) / pair_bytes - first;
    const std::uint64_t fits = std::max<std::uint64_t>(most_items / of.shape->inner().tiles, 1);
    const std::uint64_t count = std::min({wanted, most_pairs, fits});
    if (count == 0)
      continue;
    const std::uint64_t stream = starts[part] + first * pair_bytes;
    found.push_back({&of.shape->inner(), of.pairs.subspan(first, count), pair_bytes, stream, from,
                     std::min(end, stream + count * pair_bytes)});
    from = found.back().end;
    most_pairs -= count;
    if (count < wanted)
      break;
  }
  return found;
}

expected<> launcher::start(std::span<const stretch> stretches, const copy_order& order,
                           copy_args& args, bool few, std::uint32_t place) {
  const copy_pair* uploaded = nullptr;
  if (few) {
    copy_pair* to = args.few;
    for (const stretch& from : stretches)
      to = std::ranges::copy(from.pairs, to).out;
  } else {
    std::vector<std::span<const copy_pair>> parts;
    for (const stretch& from : stretches)
      parts.push_back(from.pairs);
    const auto sent = ring_.send(parts, stream_.ref(), place);
    if (!sent)
      return fail(sent.error());
    uploaded = *sent;
  }
  using storage = copy_shape::storage;
  std::vector<kernel_work> all;
  if (args.way == copy_way::pool_to_pool && order.begin == 0 && order.end == order.plan->bytes())
    all = {{kernel::bulk, &storage::bulk}, {kernel::load_store, &storage::rest}};
  else
    all = {{kernel::load_store, &storage::all}};
  for (std::size_t i = 0; i < conversions.size(); ++i)
    all.push_back({kernel::convert, nullptr, i});
  for (const kernel_work& work : all)
    if (auto done = start_kernel(stretches, uploaded, args, work); !done)
      return done;
  return {};
}

expected<> launcher::launch_kernel(const kernel_work& work, const copy_args& args,
                                   std::uint32_t blocks) const {
  const auto stream = static_cast<cudaStream_t>(stream_.ref().handle);
  switch (work.by) {
  case kernel::load_store:
    return check(launch_load_store(args, blocks, stream), "launch of the load/store copy kernel");
  case kernel::bulk:
    return check(launch_bulk(args, blocks, stream), "launch of the bulk copy kernel");
  case kernel::convert:
    break;
  }
  return check(launch_convert(work.conversion, args, blocks, stream),
               "launch of the converting kernel");
}

expected<> launcher::start_kernel(std::span<const stretch> stretches, const copy_pair* uploaded,
                                  copy_args& args, const kernel_work& work) {
  args.items = 0;
  std::uint32_t used = 0;
  std::uint32_t before = 0; // pairs
  std::uint32_t longest = 0;
  std::uint64_t bytes = 0;
  for (const stretch& from : stretches) {
    const std::uint32_t start = before;
    before += static_cast<std::uint32_t>(from.pairs.size());
    const tile_list& tiles = work.tiles(*from.shape);
    if (tiles.size() == 0)
      continue;
    copy_segment& to = args.segments[used++];
    to = cut_segment(tiles, from.pairs.size(), from.stream, from.pair_bytes, from.begin, from.end);
    to.tiles = tiles.tiles;
    to.pairs = uploaded == nullptr ? nullptr : uploaded + start;
    to.few = start;
    args.items += to.end;
    to.end = args.items;
    longest = std::max(longest, tiles.longest);
    bytes += tiles.bytes * from.pairs.size();
  }
  if (args.items == 0)
    return {};
  const std::uint32_t threads = work.by == kernel::bulk ? bulk_threads : load_store_threads;
  const launch_size size =
      size_launch(args.items, bytes, longest, options_.thread_blocks, threads / 32);
  args.batch = size.batch;
  return launch_kernel(work, args, size.blocks);
}

std::uint64_t launcher::bytes_ahead_of(std::uint64_t tag) const noexcept {
  std::uint64_t sum = 0;
  for (const flight& one : flights_)
    sum += one.tag == tag ? 0 : one.bytes;
  return sum;
}

expected<std::optional<std::uint64_t>> launcher::take_ended() {
  if (flights_.empty())
    return std::nullopt;
  const flight first = flights_.front();
  const auto done = is_complete(ended_[first.place].ref());
  if (!done)
    return fail(done.error());
  if (!*done)
    return std::nullopt;
  ring_.free(first.ring);
  flights_.pop_front();
  return first.tag;
}

void launcher::abort(std::uint64_t tag) noexcept {
  for (const flight& one : flights_)
    if (one.tag == tag)
      aborts_->raise(first_word_ + one.place, one.number);
}

} // namespace baton
